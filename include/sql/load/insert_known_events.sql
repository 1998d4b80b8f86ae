-- Purpose: add the events of this load that some files of the ledger have in one span of time.
-- Grain: event. Binds: start_at, end_at (both included). Reads `loaded_events`: these files.
-- The times are compared so that DuckDB skips the row groups of other days: a file with late events spans many.
INSERT INTO known_events
SELECT DISTINCT loaded_events.event_id
FROM loaded_events
SEMI JOIN events ON loaded_events.event_id = events.id AND events.outcome = 'event'
WHERE loaded_events.occurred_at BETWEEN $start_at::TIMESTAMPTZ AND $end_at::TIMESTAMPTZ
