-- Every row of some sources, for an engine that writes them into fewer files; in the order that such a file has.
-- Grain: one row an interaction. Reads interactions, pinned. Binds: $source_ids (list of text).
-- M7
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
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
ORDER BY source_id, occurred_at
-- source_ids = ["it's spring", 'journey']
