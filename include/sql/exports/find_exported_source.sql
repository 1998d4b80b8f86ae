-- The campaign or Canvas whose User data is asked for.
-- Grain: one row, or none where no such source is known. Binds: $source_id. Reads known_sources.
SELECT
    kind,
    name
FROM known_sources
WHERE source_id = $source_id
