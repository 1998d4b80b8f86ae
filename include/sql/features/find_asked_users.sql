-- Whether an export is about anybody at all.
-- Grain: one row where it is, none where it is not. Reads asked_users.
SELECT user_id
FROM asked_users
LIMIT 1
