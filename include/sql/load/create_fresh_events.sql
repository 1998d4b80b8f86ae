-- Purpose: the events that no load has loaded yet, each by its first delivery in this one.
-- Grain: event.
CREATE VIEW fresh_events AS
SELECT
    events.*,
    events.source_id IS NOT NULL AND events.interaction IS NOT NULL AS is_interaction
FROM events
ANTI JOIN repeats ON events.file_no = repeats.file_no AND events.line = repeats.line
WHERE events.outcome = 'event'
