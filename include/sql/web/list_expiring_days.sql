-- What expires soon, unless a filter begins to keep it or it becomes active again. Rules: R1, R4.
-- Grain: one row a day, what is due already first, under no date. Reads listed_sources. Binds: $now, $soon.
WITH expiring AS (
    SELECT
        CASE WHEN expires_at > $now THEN expires_at::DATE END AS expires_date,
        hot_rows,
        hot_bytes
    FROM listed_sources
    WHERE expires_at <= $soon AND NOT is_kept
)

SELECT
    expires_date,
    count(*) AS source_count,
    sum(hot_rows)::BIGINT AS row_count,
    sum(hot_bytes)::BIGINT AS total_bytes
FROM expiring
GROUP BY expires_date
ORDER BY expires_date NULLS FIRST
