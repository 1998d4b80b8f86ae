-- What users did with campaigns, with the names of campaign and variation.
-- Grain: one row an interaction. Reads available_interactions, known_sources, source_variants; a name that is
-- not known is null.
-- Rules: R14 (expired data is left out).
CREATE VIEW campaign_interactions AS
SELECT
    interactions.event_id,
    interactions.event_type,
    interactions.occurred_at,
    interactions.user_id,
    interactions.external_user_id,
    interactions.source_id,
    known_sources.name AS source_name,
    interactions.variant_id,
    variants.name AS variation_name,
    interactions.channel,
    interactions.interaction,
    interactions.link_alias,
    interactions.machine_open,
    interactions.conversion_index,
    interactions.keyword_category,
    interactions.dispatch_id,
    interactions.send_id,
    interactions.is_suspected_bot_click
FROM available_interactions AS interactions
LEFT JOIN known_sources ON interactions.source_id = known_sources.source_id
LEFT JOIN source_variants AS variants ON interactions.variant_id = variants.variant_id
WHERE interactions.source_kind = 'campaign'
