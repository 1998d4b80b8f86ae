-- What one run decided.
-- Grain: one row a source. Binds: $run_id, $as_of; null: nothing. Reads expiry_decisions.
-- A task that is tried again keeps its decisions twice.
CREATE TABLE last_decisions AS
SELECT
    source_id,
    any_value(decision) AS decision,
    any_value(reason) AS reason,
    any_value(expires_at) AS expires_at,
    any_value(referenced_by) AS referenced_by
FROM expiry_decisions
WHERE run_id = $run_id AND as_of = $as_of
GROUP BY source_id
