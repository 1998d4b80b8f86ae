-- The users asked for, and what is known of each from every source: what a profile lists and an export writes.
-- Grain: a user has one row of the profile (source_id is null), and one a source, step and variation; in order of user.
-- Reads asked_users, users, available_interactions, source_names, canvas_steps, source_variants.
-- Binds: $kinds (list of text): whose interactions are listed, campaign, canvas, both or none.
-- What a row of either kind does not have is null, which BY NAME fills in.
-- Rules: R14, R17. A source that no sync has seen goes by its id (R1).
WITH received AS (
    -- Flags and times only, and names come later: an engine can move such an aggregate to disk when memory runs out.
    -- Times in microseconds since 1970: millions of them become numbers in Python in no time.
    SELECT
        seen.user_id,
        seen.source_kind,
        seen.source_id,
        seen.canvas_step_id AS step_id,
        seen.variant_id,
        epoch_us(max(seen.occurred_at) FILTER (seen.interaction = 'received'))::BIGINT AS received_us,
        epoch_us(max(seen.occurred_at) FILTER (seen.interaction = 'entered'))::BIGINT AS entered_us,
        epoch_us(max(seen.occurred_at) FILTER (seen.interaction = 'control'))::BIGINT AS control_us,
        bool_or(
            seen.interaction = 'opened' AND seen.channel = 'email' AND seen.machine_open IS NOT TRUE
        ) AS opened_email,
        bool_or(seen.interaction = 'opened' AND seen.channel = 'push') AS opened_push,
        bool_or(seen.interaction = 'clicked' AND seen.channel = 'email') AS clicked_email,
        bool_or(seen.interaction = 'clicked' AND seen.channel = 'in_app_message') AS clicked_in_app_message,
        bool_or(seen.interaction = 'converted' AND seen.conversion_index = 0) AS converted
    FROM available_interactions AS seen
    WHERE
        seen.user_id IN (SELECT user_id FROM asked_users)
        AND list_contains($kinds::VARCHAR[], seen.source_kind)
    GROUP BY seen.user_id, seen.source_kind, seen.source_id, seen.canvas_step_id, seen.variant_id
)

SELECT -- noqa: AM07
    received.*,
    coalesce(source_names.name, received.source_id) AS source_name,
    coalesce(canvas_steps.name, received.step_id) AS step_name,
    source_variants.name AS variant_name
FROM received
LEFT JOIN source_names ON received.source_id = source_names.source_id
LEFT JOIN canvas_steps ON received.source_id = canvas_steps.source_id AND received.step_id = canvas_steps.step_id
LEFT JOIN source_variants
    ON received.source_id = source_variants.source_id AND received.variant_id = source_variants.variant_id
UNION ALL BY NAME
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
    custom_attributes
FROM users
WHERE user_id IN (SELECT user_id FROM asked_users)
ORDER BY user_id
