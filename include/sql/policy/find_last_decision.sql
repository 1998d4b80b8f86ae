-- The last run that decided before a moment; of two of the same date, always the same one.
-- Grain: at most one row. Binds: $as_of. Reads expiry_decisions.
SELECT
    run_id,
    as_of
FROM expiry_decisions
WHERE as_of < $as_of
ORDER BY as_of DESC, run_id DESC
LIMIT 1
