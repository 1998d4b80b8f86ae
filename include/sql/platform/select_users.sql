-- Users of the platform. Grain: one row a user. Read through a server-side cursor, so millions are fine.
-- Edit it to read your own platform's tables; keep the column names. Times without a zone are UTC.
-- created_at and custom_attributes that cannot be used are read as null and counted: no decision needs them.
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
    feature_flags,               -- JSON list of strings, or an array of text
    custom_attributes            -- JSON
FROM users
ORDER BY user_id
