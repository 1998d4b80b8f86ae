-- Scratch table of one sync: the keys it has read. Grain: one row a row of a synced table.
-- key_2 and key_3 are null where the key is shorter; source_id is the source a tag, variation or step names.
CREATE TABLE platform_keys (
    table_name VARCHAR,
    key_1 VARCHAR,
    key_2 VARCHAR,
    key_3 VARCHAR,
    source_id VARCHAR
)
