-- The cells of the User data file of a campaign or Canvas.
-- Grain: one row a user of user_contacts. Reads user_contacts, users, source_variants, canvas_steps; uses csv_text.
-- user_key sorts, has_profile tells whether the platform has the user now. Times are ISO 8601 in UTC.
CREATE TEMP VIEW user_data AS
SELECT
    contacts.user_id AS user_key,
    users.user_id IS NOT NULL AS has_profile,
    csv_text(contacts.user_id) AS user_id,
    csv_text(users.external_user_id) AS external_id,
    csv_text(users.email) AS email,
    csv_text(users.phone) AS phone,
    csv_text(users.first_name) AS first_name,
    csv_text(users.last_name) AS last_name,
    csv_text(users.country) AS country,
    csv_text(users.language) AS language,
    csv_text(users.time_zone) AS time_zone,
    csv_text(coalesce(variants.name, contacts.variant_id)) AS variation_name,
    contacts.in_control,
    strftime(contacts.last_entered_at, '%Y-%m-%dT%H:%M:%SZ') AS last_entered_at,
    contacts.entered_count,
    csv_text(coalesce(steps.name, contacts.last_step_id)) AS last_step_name,
    strftime(contacts.first_received_at, '%Y-%m-%dT%H:%M:%SZ') AS first_received_at,
    strftime(contacts.last_received_at, '%Y-%m-%dT%H:%M:%SZ') AS last_received_at,
    contacts.received_count,
    coalesce(contacts.opened_email, FALSE) AS opened_email,
    coalesce(contacts.machine_opened_email, FALSE) AS machine_opened_email,
    coalesce(contacts.opened_push, FALSE) AS opened_push,
    coalesce(contacts.clicked_email, FALSE) AS clicked_email,
    coalesce(contacts.clicked_in_app_message, FALSE) AS clicked_in_app_message,
    contacts.replied,
    coalesce(contacts.converted, FALSE) AS converted,
    strftime(contacts.last_interaction_at, '%Y-%m-%dT%H:%M:%SZ') AS last_interaction_at
FROM user_contacts AS contacts
LEFT JOIN users ON contacts.user_id = users.user_id
LEFT JOIN source_variants AS variants ON contacts.variant_id = variants.variant_id
LEFT JOIN canvas_steps AS steps ON contacts.last_step_id = steps.step_id
