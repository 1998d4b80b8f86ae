-- Purpose: add the events of this load that some files of the ledger have in some spans of time.
-- Grain: event. Binds: start_1, end_1 to start_8, end_8 (all included; equal ones are one span). Reads `loaded_events`:
-- these files. The times are compared so that DuckDB skips the row groups of other days: a file with late events spans
-- many days, and has next to nothing of most of them.
INSERT INTO known_events
SELECT DISTINCT loaded_events.event_id
FROM loaded_events
SEMI JOIN events ON loaded_events.event_id = events.id AND events.outcome = 'event'
WHERE
    loaded_events.occurred_at BETWEEN $start_1::TIMESTAMPTZ AND $end_1::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_2::TIMESTAMPTZ AND $end_2::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_3::TIMESTAMPTZ AND $end_3::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_4::TIMESTAMPTZ AND $end_4::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_5::TIMESTAMPTZ AND $end_5::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_6::TIMESTAMPTZ AND $end_6::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_7::TIMESTAMPTZ AND $end_7::TIMESTAMPTZ
    OR loaded_events.occurred_at BETWEEN $start_8::TIMESTAMPTZ AND $end_8::TIMESTAMPTZ
