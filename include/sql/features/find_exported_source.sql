-- The campaign or Canvas whose User data is asked for.
-- Grain: one row, or none where the platform has no such source. Binds: $source_id. Reads sources.
SELECT
    kind,
    name
FROM sources
WHERE source_id = $source_id
