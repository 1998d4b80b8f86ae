-- The users whom an export or a profile asks for, by either kind of id; an external id may be that of several.
-- Grain: one row a user. Binds: $user_ids, $external_ids (lists of text). Reads users.
SELECT DISTINCT user_id
FROM users
WHERE user_id IN (SELECT unnest($user_ids::VARCHAR[])) OR external_user_id IN (SELECT unnest($external_ids::VARCHAR[]))
