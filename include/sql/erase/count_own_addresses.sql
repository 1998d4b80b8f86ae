-- How many people who are to be erased have one of some e-mail addresses (R22).
-- Grain: one row. Reads users. Binds: $user_ids, $external_user_ids, $addresses in lower case.
SELECT count(*) AS person_count
FROM users
WHERE
    (user_id IN (SELECT unnest($user_ids)) OR external_user_id IN (SELECT unnest($external_user_ids)))
    AND lower(email) IN (SELECT unnest($addresses))
