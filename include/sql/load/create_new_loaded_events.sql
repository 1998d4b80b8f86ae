-- Purpose: the load's rows of the ledger behind exactly-once loading: every event, whether or not it names a source.
-- Grain: event.
CREATE VIEW new_loaded_events AS
SELECT
    id AS event_id,
    occurred_at
FROM fresh_events
