-- How many users an export is about.
-- Grain: one row. Reads asked_users.
SELECT count(*) AS user_count
FROM asked_users
