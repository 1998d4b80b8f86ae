-- How many bytes were moved on each day, to long-term storage and back, and how many interactions were loaded.
-- Grain: one row a day on which something was moved or loaded, in order. Reads lifecycle_events, loaded_files.
WITH moved AS (
    SELECT
        occurred_at::DATE AS moved_date,
        sum(total_bytes) FILTER (event <> 'restored') AS archived_bytes,
        sum(total_bytes) FILTER (event = 'restored') AS restored_bytes
    FROM lifecycle_events
    GROUP BY moved_date
),

loaded AS (
    SELECT
        loaded_at::DATE AS moved_date,
        sum(row_count) AS loaded_rows
    FROM loaded_files
    GROUP BY moved_date
)

SELECT
    moved_date,
    coalesce(moved.archived_bytes, 0)::BIGINT AS archived_bytes,
    coalesce(moved.restored_bytes, 0)::BIGINT AS restored_bytes,
    coalesce(loaded.loaded_rows, 0)::BIGINT AS loaded_rows
FROM moved
FULL OUTER JOIN loaded USING (moved_date)
ORDER BY moved_date
