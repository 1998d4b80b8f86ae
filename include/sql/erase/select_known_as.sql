-- What else people are known by, who are to be erased (R22).
-- Grain: one row a person. Reads users. Binds: $user_ids, $external_user_ids.
SELECT
    user_id,
    external_user_id,
    email,
    phone
FROM users
WHERE
    user_id IN (SELECT unnest($user_ids::VARCHAR[]))
    OR external_user_id IN (SELECT unnest($external_user_ids::VARCHAR[]))
