-- Sample workspace: add to the platform's table users. Grain: one row. Runs on SQLite.
-- Binds: one a column.
INSERT INTO users (
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
)
VALUES (
    $user_id,
    $external_user_id,
    $email,
    $phone,
    $first_name,
    $last_name,
    $country,
    $language,
    $time_zone,
    $created_at,
    $invalid_phone,
    $feature_flags,
    $custom_attributes
)
