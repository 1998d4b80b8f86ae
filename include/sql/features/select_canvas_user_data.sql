-- The User data file of a Canvas, in order of user_id.
-- Grain: one row a user. Binds: $all_recipients: also those whose profile is gone. Reads user_data.
SELECT
    user_id,
    external_id,
    email,
    phone,
    first_name,
    last_name,
    country,
    language,
    time_zone,
    variation_name,
    in_control,
    first_received_at,
    last_received_at,
    received_count,
    opened_email,
    machine_opened_email,
    opened_push,
    clicked_email,
    clicked_in_app_message,
    replied,
    converted,
    last_interaction_at,
    last_entered_at,
    entered_count,
    last_step_name
FROM user_data
WHERE has_profile OR $all_recipients
ORDER BY user_key
