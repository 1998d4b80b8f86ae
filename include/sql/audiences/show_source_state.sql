-- A campaign or Canvas, and where its own interactions are.
-- Grain: one row at most. Reads source_states. Binds: $source_id.
SELECT
    kind,
    name,
    status,
    state,
    since,
    vanished_at
FROM source_states
WHERE source_id = $source_id AND known
