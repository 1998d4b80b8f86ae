-- How much has been in long-term storage for how long, since the first expiry.
-- Grain: one row. Binds: $now. Reads lifecycle_events. A month has 30 days.
-- A restore ends the stay of all that came before.
WITH stays AS (
    SELECT
        event,
        total_bytes,
        file_count,
        occurred_at,
        coalesce(
            min(CASE WHEN event = 'restored' THEN occurred_at END) OVER (
                PARTITION BY source_id
                ORDER BY occurred_at ASC, event ASC
                ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
            ),
            $now
        ) AS ended_at
    FROM lifecycle_events
)

SELECT
    coalesce(sum(total_bytes * greatest(epoch(ended_at - occurred_at), 0)) / (30 * 86400), 0)::DOUBLE AS byte_months,
    coalesce(sum(file_count), 0)::BIGINT AS file_count
FROM stays
WHERE event IN ('expired', 'late_archived') AND occurred_at < $now
