-- The decisions of the latest run of a moment: how many of each, and one with its reason.
-- Grain: one row a decision, in order of precedence. Binds: $as_of.
WITH ordered AS (
    SELECT
        decision,
        count(*) AS sources,
        arg_min(source_id, source_id) AS example,
        arg_min(reason, source_id) AS reason
    FROM expiry_decisions
    WHERE as_of = $as_of
    GROUP BY decision
)

SELECT
    decision,
    sources,
    example,
    reason
FROM ordered
ORDER BY list_position(
    ['deleted', 'reactivated', 'late', 'expired', 'active', 'recent', 'held', 'referenced', 'empty', 'expire'],
    decision
)
