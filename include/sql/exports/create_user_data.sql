-- The cells of the User data file of a campaign or Canvas.
-- Grain: one row a user of user_contacts. Reads user_contacts; uses csv_text.
-- user_key sorts, has_profile says whether the platform has the user now. Times are ISO 8601 in UTC.
CREATE TEMP VIEW user_data AS
SELECT
    user_id AS user_key,
    has_profile,
    csv_text(user_id) AS user_id,
    csv_text(external_user_id) AS external_id,
    csv_text(email) AS email,
    csv_text(phone) AS phone,
    csv_text(first_name) AS first_name,
    csv_text(last_name) AS last_name,
    csv_text(country) AS country,
    csv_text(language) AS language,
    csv_text(time_zone) AS time_zone,
    csv_text(variation_name) AS variation_name,
    in_control,
    strftime(last_entered_at, '%Y-%m-%dT%H:%M:%SZ') AS last_entered_at,
    entered_count,
    csv_text(last_step_name) AS last_step_name,
    strftime(first_received_at, '%Y-%m-%dT%H:%M:%SZ') AS first_received_at,
    strftime(last_received_at, '%Y-%m-%dT%H:%M:%SZ') AS last_received_at,
    received_count,
    coalesce(opened_email, FALSE) AS opened_email,
    coalesce(machine_opened_email, FALSE) AS machine_opened_email,
    coalesce(opened_push, FALSE) AS opened_push,
    coalesce(clicked_email, FALSE) AS clicked_email,
    coalesce(clicked_in_app_message, FALSE) AS clicked_in_app_message,
    replied,
    coalesce(converted, FALSE) AS converted,
    strftime(last_interaction_at, '%Y-%m-%dT%H:%M:%SZ') AS last_interaction_at
FROM user_contacts
