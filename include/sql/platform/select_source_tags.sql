-- Tags of campaigns and Canvases. Grain: one row a source and tag.
-- Edit it to read your own platform's tables; keep the column names.
SELECT
    source_id,
    tag
FROM source_tags
ORDER BY source_id, tag
