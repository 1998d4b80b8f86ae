-- What the next run would decide otherwise than the last one did, and why.
-- Grain: one row a source. Reads last_decisions (empty if no run has decided yet), next_decisions (as decide_sources).
-- Rules: R2, R4, R10, R19. What the last run was to move has moved since: that is not a change.
WITH paired AS (
    SELECT
        later.source_id,
        later.name,
        later.kind,
        later.vanished_at,
        later.hot_rows,
        coalesce(earlier.decision, 'new') AS decision_before,
        later.decision,
        earlier.reason AS reason_before,
        later.reason,
        earlier.expires_at AS expires_before,
        later.expires_at,
        coalesce([p FOR p IN earlier.referenced_by IF NOT list_contains(later.referenced_by, p)], []) AS dropped
    FROM next_decisions AS later
    LEFT JOIN last_decisions AS earlier ON later.source_id = earlier.source_id
),

changed AS (
    SELECT
        *,
        CASE
            WHEN decision = 'expire' AND decision_before <> 'expire' THEN 'newly due'
            WHEN decision = 'reactivated' AND decision_before <> 'reactivated' THEN 'reactivated'
            WHEN decision_before = 'expire' AND decision NOT IN ('expire', 'expired', 'late') THEN 'no longer due'
            WHEN decision = 'referenced' AND decision_before <> 'referenced' THEN 'newly referenced'
            WHEN decision = 'held' AND decision_before <> 'held' THEN 'newly held'
            WHEN decision_before = 'new' THEN 'new'
        END AS change
    FROM paired
)

SELECT
    source_id,
    name,
    kind,
    change,
    CASE
        WHEN decision_before = 'new' THEN 'metadata'
        WHEN decision = 'held' THEN 'hold'
        WHEN decision_before = 'held' AND decision = 'expire' AND expires_at = expires_before THEN 'hold'
        WHEN vanished_at IS NOT NULL AND NOT contains(reason_before, 'no longer in the platform') THEN 'metadata'
        WHEN decision_before = 'active' OR decision IN ('active', 'reactivated') THEN 'status'
        WHEN decision = 'referenced' OR len(dropped) > 0 THEN 'reference'
        WHEN decision_before = 'recent' OR coalesce(expires_at <> expires_before, TRUE) THEN 'clock'
        ELSE 'data'
    END AS cause,
    decision_before,
    decision,
    reason,
    reason_before,
    dropped,
    expires_before,
    expires_at,
    hot_rows
FROM changed
WHERE change IS NOT NULL
