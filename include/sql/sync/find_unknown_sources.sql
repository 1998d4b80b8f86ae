-- Tags, variations or steps of sources that the platform does not have, and how many there are of them.
-- Grain: row of the table, the first $example_count of them. Binds: $table_name, $example_count.
SELECT
    keys.key_1,
    keys.key_2,
    keys.key_3,
    keys.source_id,
    count(*) OVER () AS row_count
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
LIMIT $example_count
