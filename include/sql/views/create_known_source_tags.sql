-- The tags of the sources that the platform has, and the tags last known of those that it has no longer.
-- Grain: one row a source and tag. Reads source_tags, absent_sources.
-- Rules: R5, R11, R14. A sync replaces source_tags after sources: a tag that is still there is not doubled.
CREATE VIEW known_source_tags AS
SELECT
    source_id,
    tag
FROM source_tags
UNION
SELECT
    absent_sources.source_id,
    listed.tag
FROM absent_sources
CROSS JOIN unnest(absent_sources.tags) AS listed (tag)
