-- The state of every person in every request: the last event (R22).
-- Whom a lost key was the key of is left out where nothing came of it: the same person has another hash since.
-- Grain: one row a request and person, the oldest request first. Reads erasures.
WITH
ordered AS (
    SELECT
        e.*,
        row_number() OVER (
            PARTITION BY e.request_id, e.user_id_hash
            ORDER BY
                e.at DESC,
                list_position(
                    ['requested', 'approved', 'located', 'waiting', 'removed', 'purged', 'verified', 'refused'], e.event
                ) DESC
        ) AS place
    FROM erasures AS e
    WHERE e.event <> 'forgotten'
),

requested AS (
    SELECT
        e.request_id,
        min(e.at) AS requested_at,
        -- Nobody's name where the platform asks, and not that of who approves it.
        arg_min_null(e.requested_by, e.at) AS requested_by
    FROM erasures AS e
    GROUP BY e.request_id
)

SELECT
    o.request_id,
    o.user_id_hash,
    o.event,
    o.at,
    r.requested_at,
    r.requested_by,
    o.due_at,
    o.detail
FROM ordered AS o
INNER JOIN requested AS r ON o.request_id = r.request_id
WHERE
    o.place = 1
    AND (
        o.event IN ('verified', 'refused')
        OR o.user_id_hash NOT IN (
            SELECT e.user_id_hash
            FROM erasures AS e
            WHERE e.event = 'forgotten' AND e.detail ->> '$.lost_key' = 'true'
        )
    )
ORDER BY r.requested_at, o.request_id, o.user_id_hash
