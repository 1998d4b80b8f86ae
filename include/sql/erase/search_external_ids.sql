-- The platform's ids of the people who have some external ids in interactions (R22).
-- Grain: one row an external id and person. Reads searched. Binds: $external_user_ids.
SELECT DISTINCT
    external_user_id,
    user_id
FROM searched
WHERE external_user_id IN (SELECT unnest($external_user_ids))
