-- A key that comes more than once in a table. Grain: one row at most. Binds: $table_name.
-- Grouping spills to disk, so memory does not grow with the number of users.
SELECT
    key_1,
    key_2,
    key_3,
    count(*) AS row_count
FROM platform_keys
WHERE table_name = $table_name
GROUP BY key_1, key_2, key_3
HAVING count(*) > 1
ORDER BY key_1, key_2, key_3
LIMIT 1
