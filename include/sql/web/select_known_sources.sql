-- What is known of some sources.
-- Grain: as known_sources. Reads known_sources. Binds: $source_ids (list of text).
SELECT *
FROM known_sources
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
