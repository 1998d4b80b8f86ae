-- The platform's ids of the people with some external ids (R22).
-- Grain: one row a person. Reads users. Binds: $external_user_ids.
SELECT
    external_user_id,
    user_id
FROM users
WHERE external_user_id IN (SELECT unnest($external_user_ids))
ORDER BY user_id
