-- Interactions in hot, in the archive, and visible to features.
-- Grain: one row. Reads source_totals and available_interactions.
WITH held AS (
    SELECT
        coalesce(sum(row_count) FILTER (WHERE table_name = 'interactions'), 0)::BIGINT AS hot,
        coalesce(sum(row_count) FILTER (WHERE table_name = 'interactions_archive'), 0)::BIGINT AS archived
    FROM source_totals
),

visible AS (
    SELECT count(*) AS visible
    FROM available_interactions
)

SELECT
    held.hot,
    held.archived,
    visible.visible
FROM held
CROSS JOIN visible
