-- Purpose: whom the platform asks to erase (R22): the first new request of each user.
-- Grain: user.
SELECT
    user_id,
    min_by(id, (file_no, line)) AS event_id
FROM fresh_events
WHERE event_type = 'users.UserDeleteRequest'
GROUP BY user_id
ORDER BY user_id
