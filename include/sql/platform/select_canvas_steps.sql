-- Steps of Canvases. Grain: one row a step.
-- Edit it to read your own platform's tables; keep the column names.
SELECT
    step_id,
    source_id,
    name
FROM canvas_steps
ORDER BY step_id
