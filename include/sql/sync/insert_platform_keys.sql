-- Add the keys of one batch. Binds: $table_name; reads the registered Arrow table batch_keys.
INSERT INTO platform_keys
SELECT
    $table_name AS table_name,
    key_1,
    key_2,
    key_3,
    source_id
FROM batch_keys
