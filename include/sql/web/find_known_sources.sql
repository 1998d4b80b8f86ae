-- Which of some ids are sources, and their names.
-- Grain: one row a source. Reads listed_sources. Binds: $source_ids.
SELECT
    source_id,
    name
FROM listed_sources
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
