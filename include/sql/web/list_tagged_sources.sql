-- The sources that carry one of some tags.
-- Grain: one row a source. Binds: $tags (list of text). Reads listed_sources.
-- R11
SELECT source_id
FROM listed_sources
WHERE list_has_any(tags, $tags::VARCHAR[])
