-- The sources whose interactions features do not see: expired, or deleted and not active again.
-- Grain: one row a source. Reads source_states.
-- Rules: R8, R14, R18. A source that no sync has seen yet is not hidden (R1).
CREATE VIEW hidden_sources AS
SELECT
    source_id,
    state
FROM source_states
WHERE state <> 'available' AND NOT (state = 'deleted' AND status = 'active')
