-- Sample workspace: add to the platform's table source_tags. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO source_tags (
    source_id,
    tag
)
VALUES (
    $source_id,
    $tag
)
