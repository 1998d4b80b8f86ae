-- Where some sources stand in the list.
-- Grain: one row a source that is listed. Reads listed_sources. Binds: $source_ids (list of text).
SELECT position
FROM listed_sources
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
