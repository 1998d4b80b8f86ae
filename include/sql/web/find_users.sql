-- The users that a text names exactly: by either id, or by e-mail address; the one whose own id it is comes first.
-- Grain: one row a user. Binds: $wanted, $most. Reads users.
SELECT
    user_id,
    external_user_id,
    email,
    phone,
    first_name,
    last_name,
    country,
    language,
    time_zone,
    created_at,
    invalid_phone,
    feature_flags,
    custom_attributes
FROM users
WHERE user_id = $wanted OR external_user_id = $wanted OR email = $wanted
ORDER BY user_id = $wanted DESC, user_id
LIMIT $most
