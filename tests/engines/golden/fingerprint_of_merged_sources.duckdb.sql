-- Row count and order-free hash of all columns, as an engine says, of the rows it was to merge and of those it wrote.
-- Grain: one row a side (original or written) and source. Reads interactions and written_interactions, both pinned.
-- Binds: $source_ids (list of text). A sum, so that a doubled row shows; an XOR would cancel it.
-- M7
WITH sides AS (
    SELECT
        'original' AS side,
        interactions.*
    FROM interactions
    WHERE interactions.source_id IN (SELECT unnest($source_ids::VARCHAR[]))
    UNION ALL
    SELECT
        'written' AS side,
        written_interactions.*
    FROM written_interactions
)

SELECT
    side,
    source_id,
    count(*) AS row_count,
    sum(hash(
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
        send_id,
        is_suspected_bot_click
    )::HUGEINT)::VARCHAR AS row_hash
FROM sides
GROUP BY side, source_id
-- source_ids = ["it's spring", 'journey']
