-- What the platform has of some sources: themselves, their steps and their variations; and which of them it has no
-- longer.
-- Grain: one row an id. Binds: $source_ids (list of text).
WITH asked AS (
    SELECT unnest($source_ids::VARCHAR[]) AS source_id
)

SELECT
    'source' AS what,
    sources.kind AS owner,
    sources.source_id AS id
FROM sources
INNER JOIN asked USING (source_id)
UNION ALL
SELECT
    'step' AS what,
    canvas_steps.source_id AS owner,
    canvas_steps.step_id AS id
FROM canvas_steps
INNER JOIN asked USING (source_id)
UNION ALL
SELECT
    'variant' AS what,
    source_variants.source_id AS owner,
    source_variants.variant_id AS id
FROM source_variants
INNER JOIN asked USING (source_id)
UNION ALL
SELECT
    'absent' AS what,
    absent_sources.kind AS owner,
    absent_sources.source_id AS id
FROM absent_sources
INNER JOIN asked USING (source_id)
