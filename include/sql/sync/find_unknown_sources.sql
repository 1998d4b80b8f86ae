-- A tag, variation or step of a source that the platform does not have. Grain: one row at most. Binds: $table_name.
SELECT
    keys.key_1,
    keys.key_2,
    keys.key_3,
    keys.source_id
FROM platform_keys AS keys
WHERE
    keys.table_name = $table_name
    AND keys.source_id IS NOT NULL
    AND NOT EXISTS (
        SELECT 1
        FROM platform_keys AS known
        WHERE known.table_name = 'sources' AND known.key_1 = keys.source_id
    )
ORDER BY keys.key_1, keys.key_2, keys.key_3
LIMIT 1
