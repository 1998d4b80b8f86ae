-- The audiences of one campaign or Canvas: its own and those of its steps.
-- Grain: one row a part. Reads audiences. Binds: $kind, $source_id.
SELECT
    part,
    definition
FROM audiences
WHERE owner_kind = $kind AND owner_id = $source_id
ORDER BY part <> 'audience', part
