-- Sample workspace: add to the platform's table sources. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO sources (
    source_id,
    kind,
    name,
    status,
    created_at,
    stopped_at,
    last_sent_at,
    owner_email,
    interaction_data_deleted_at
)
VALUES (
    $source_id,
    $kind,
    $name,
    $status,
    $created_at,
    $stopped_at,
    $last_sent_at,
    $owner_email,
    $interaction_data_deleted_at
)
