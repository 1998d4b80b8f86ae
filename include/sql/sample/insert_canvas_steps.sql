-- Sample workspace: add to the platform's table canvas_steps. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO canvas_steps (
    step_id,
    source_id,
    name
)
VALUES (
    $step_id,
    $source_id,
    $name
)
