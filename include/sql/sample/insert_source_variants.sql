-- Sample workspace: add to the platform's table source_variants. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO source_variants (
    variant_id,
    source_id,
    name,
    is_control
)
VALUES (
    $variant_id,
    $source_id,
    $name,
    $is_control
)
