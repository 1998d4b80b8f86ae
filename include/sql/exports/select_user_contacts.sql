-- What every user had to do with one source, and who they are now.
-- Grain: one row a user. Reads available_interactions, which holds that source alone, users, source_variants,
-- canvas_steps. The columns of users are null for whom the platform has no longer; has_profile shows it.
-- The latest variation and step count; their ids decide within a moment, so that the answer repeats (R17).
WITH contacts AS (
    SELECT
        user_id,
        max_by(variant_id, (occurred_at, variant_id)) FILTER (variant_id IS NOT NULL) AS variant_id,
        max_by(canvas_step_id, (occurred_at, canvas_step_id)) FILTER (canvas_step_id IS NOT NULL) AS last_step_id,
        bool_or(interaction = 'control') AS in_control,
        max(occurred_at) FILTER (interaction = 'entered') AS last_entered_at,
        count(*) FILTER (interaction = 'entered') AS entered_count,
        min(occurred_at) FILTER (interaction = 'received') AS first_received_at,
        max(occurred_at) FILTER (interaction = 'received') AS last_received_at,
        count(*) FILTER (interaction = 'received') AS received_count,
        bool_or(interaction = 'opened' AND channel = 'email' AND machine_open IS NOT TRUE) AS opened_email,
        bool_or(interaction = 'opened' AND channel = 'email' AND machine_open) AS machine_opened_email,
        bool_or(interaction = 'opened' AND channel = 'push') AS opened_push,
        bool_or(interaction = 'clicked' AND channel = 'email') AS clicked_email,
        bool_or(interaction = 'clicked' AND channel = 'in_app_message') AS clicked_in_app_message,
        bool_or(interaction = 'replied') AS replied,
        bool_or(interaction = 'converted' AND conversion_index = 0) AS converted,
        max(occurred_at) AS last_interaction_at
    FROM available_interactions
    GROUP BY user_id
)

SELECT
    contacts.*,
    users.user_id IS NOT NULL AS has_profile,
    users.external_user_id,
    users.email,
    users.phone,
    users.first_name,
    users.last_name,
    users.country,
    users.language,
    users.time_zone,
    coalesce(variants.name, contacts.variant_id) AS variation_name,
    coalesce(steps.name, contacts.last_step_id) AS last_step_name
FROM contacts
LEFT JOIN users ON contacts.user_id = users.user_id
LEFT JOIN source_variants AS variants ON contacts.variant_id = variants.variant_id
LEFT JOIN canvas_steps AS steps ON contacts.last_step_id = steps.step_id
