-- What features may see: hot interactions, except those of sources that are expired, or deleted and not active again.
-- Grain: one row an interaction, columns of interactions. Reads interactions, hidden_sources.
-- Rules: R1 (a source that no sync has seen yet is visible at once), R9 (late rows stay hidden), R14, R18.
CREATE VIEW available_interactions AS
SELECT
    interactions.event_id,
    interactions.event_type,
    interactions.occurred_at,
    interactions.user_id,
    interactions.external_user_id,
    interactions.source_id,
    interactions.source_kind,
    interactions.canvas_step_id,
    interactions.variant_id,
    interactions.channel,
    interactions.interaction,
    interactions.link_alias,
    interactions.machine_open,
    interactions.conversion_index,
    interactions.keyword_category,
    interactions.dispatch_id,
    interactions.send_id,
    interactions.is_suspected_bot_click
FROM interactions
WHERE NOT EXISTS (
    SELECT 1 FROM hidden_sources AS hidden
    WHERE hidden.source_id = interactions.source_id
)
