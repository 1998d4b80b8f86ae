-- Purpose: the load's rows of `interactions`; an event that names no source makes none.
-- Grain: event.
CREATE VIEW new_interactions AS
SELECT
    id AS event_id,
    event_type,
    occurred_at,
    user_id,
    nullif(external_user_id, '') AS external_user_id,
    source_id,
    source_kind,
    nullif(canvas_step_id, '') AS canvas_step_id,
    nullif(CASE WHEN source_kind = 'campaign' THEN message_variation_id ELSE canvas_variation_id END, '') AS variant_id,
    channel,
    interaction,
    link_alias,
    machine_open,
    conversion_behavior_index AS conversion_index,
    action AS keyword_category,
    nullif(dispatch_id, '') AS dispatch_id,
    nullif(send_id, '') AS send_id,
    is_suspected_bot_click
FROM fresh_events
WHERE is_interaction
