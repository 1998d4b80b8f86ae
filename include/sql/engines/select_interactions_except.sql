-- What features may see of all sources, for an engine that reads the tables itself.
-- Grain: one row an interaction. Reads interactions. Binds: $hidden_ids (list of text), the hidden sources
-- that have rows here all the same.
-- Rules: R14, R18; which sources are hidden is decided in process, from the same moment.
SELECT
    event_id,
    event_type,
    occurred_at,
    user_id,
    external_user_id,
    source_id,
    source_kind,
    canvas_step_id,
    variant_id,
    channel,
    interaction,
    link_alias,
    machine_open,
    conversion_index,
    keyword_category,
    dispatch_id,
    send_id
FROM interactions
WHERE source_id NOT IN (SELECT unnest($hidden_ids::VARCHAR[]))
