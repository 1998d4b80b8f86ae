-- Sample workspace: add to the platform's table audiences. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO audiences (
    owner_kind,
    owner_id,
    owner_name,
    owner_status,
    part,
    definition
)
VALUES (
    $owner_kind,
    $owner_id,
    $owner_name,
    $owner_status,
    $part,
    $definition
)
