-- When some sources expire, and how many never do because they are active (R2).
-- Grain: one row. Reads source_states.
SELECT
    min(expires_at) AS first_expires_at,
    max(expires_at) AS last_expires_at,
    count(*) FILTER (expires_at IS NULL) AS active_count
FROM source_states
WHERE known
