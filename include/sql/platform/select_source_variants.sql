-- Message variations of campaigns, variations of Canvases. Grain: one row a variation.
-- Edit it to read your own platform's tables; keep the column names.
SELECT
    variant_id,
    source_id,
    name,
    is_control
FROM source_variants
ORDER BY variant_id
