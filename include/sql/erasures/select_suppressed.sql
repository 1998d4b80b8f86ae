-- The people whose erasure was approved, less those whose suppression was forgotten since (R22).
-- Grain: one row a person, with the mark of the key of the hash and a request. Reads erasures.
SELECT
    e.user_id_hash,
    max(e.detail ->> '$.key') AS key_mark,
    max_by(e.request_id, e.at) AS request_id,
    max(e.due_at) AS due_at
FROM erasures AS e
GROUP BY e.user_id_hash
HAVING
    max(e.at) FILTER (e.event IN ('approved', 'located', 'waiting', 'removed', 'purged', 'verified'))
    > coalesce(max(e.at) FILTER (e.event = 'forgotten'), '-infinity'::TIMESTAMPTZ)
ORDER BY e.user_id_hash
