-- Where the interactions of each source are, since when, and when they expire.
-- Grain: one row a source. Reads source_states and source_totals.
-- Rules: R2, R3, R8, R13, R18. Clock and expiry are null while a source is active: its clock does not run.
-- Of a source that the platform has no longer, vanished_at says since when; its status is never active.
CREATE VIEW source_availability AS
WITH held AS (
    SELECT
        source_id,
        sum(row_count) FILTER (table_name = 'interactions') AS hot_rows,
        sum(row_count) FILTER (table_name = 'interactions_archive') AS archived_rows
    FROM source_totals
    GROUP BY source_id
)

SELECT
    states.source_id,
    states.kind,
    states.name,
    states.status,
    states.state,
    states.since,
    states.clock_started_at,
    states.expires_at,
    coalesce(held.hot_rows, 0)::BIGINT AS hot_rows,
    coalesce(held.archived_rows, 0)::BIGINT AS archived_rows,
    states.vanished_at
FROM source_states AS states
LEFT JOIN held ON states.source_id = held.source_id
WHERE states.known
