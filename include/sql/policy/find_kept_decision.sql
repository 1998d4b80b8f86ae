-- What the last run up to a moment decided about one source.
-- Grain: at most one row. Binds: $source_id, $at. Reads expiry_decisions.
SELECT
    run_id,
    as_of,
    decision,
    reason,
    clock_started_at,
    expires_at,
    referenced_by
FROM expiry_decisions
WHERE source_id = $source_id AND as_of <= $at
ORDER BY as_of DESC, run_id DESC
LIMIT 1
