-- Keys that come more than once in a table, and how many there are of them.
-- Grain: key, the first $example_count of them. Binds: $table_name, $example_count.
-- Grouping spills to disk, so memory does not grow with the number of users.
SELECT
    key_1,
    key_2,
    key_3,
    count(*) AS row_count,
    count(*) OVER () AS key_count
FROM platform_keys
WHERE table_name = $table_name
GROUP BY key_1, key_2, key_3
HAVING count(*) > 1
ORDER BY key_1, key_2, key_3
LIMIT $example_count
