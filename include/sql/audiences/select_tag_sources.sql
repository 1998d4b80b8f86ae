-- The sources that a tag filter looks at: of those with the tag, the 200 that sent most recently (spec/filters.md).
-- Grain: one row a source. Binds: $tag. R5, R14: expired sources count among the 200, and are missing (R16).
SELECT sources.source_id
FROM sources
WHERE
    EXISTS (
        SELECT 1 FROM source_tags
        WHERE source_tags.source_id = sources.source_id AND source_tags.tag = $tag
    )
ORDER BY sources.last_sent_at DESC NULLS LAST, sources.source_id ASC
LIMIT 200
