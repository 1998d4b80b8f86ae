WITH sides AS (
  SELECT
    'original' AS side,
    interactions.event_id AS event_id,
    interactions.event_type AS event_type,
    interactions.occurred_at AS occurred_at,
    interactions.user_id AS user_id,
    interactions.external_user_id AS external_user_id,
    interactions.source_id AS source_id,
    interactions.source_kind AS source_kind,
    interactions.canvas_step_id AS canvas_step_id,
    interactions.variant_id AS variant_id,
    interactions.channel AS channel,
    interactions.interaction AS interaction,
    interactions.link_alias AS link_alias,
    interactions.machine_open AS machine_open,
    interactions.conversion_index AS conversion_index,
    interactions.keyword_category AS keyword_category,
    interactions.dispatch_id AS dispatch_id,
    interactions.send_id AS send_id,
    interactions.is_suspected_bot_click AS is_suspected_bot_click
  FROM "lake"."messaging"."interactions" FOR VERSION AS OF 7 AS interactions
  WHERE
    interactions.source_id IN (:source_ids_1, :source_ids_2)
  UNION ALL
  SELECT
    'written' AS side,
    written_interactions.event_id AS event_id,
    written_interactions.event_type AS event_type,
    written_interactions.occurred_at AS occurred_at,
    written_interactions.user_id AS user_id,
    written_interactions.external_user_id AS external_user_id,
    written_interactions.source_id AS source_id,
    written_interactions.source_kind AS source_kind,
    written_interactions.canvas_step_id AS canvas_step_id,
    written_interactions.variant_id AS variant_id,
    written_interactions.channel AS channel,
    written_interactions.interaction AS interaction,
    written_interactions.link_alias AS link_alias,
    written_interactions.machine_open AS machine_open,
    written_interactions.conversion_index AS conversion_index,
    written_interactions.keyword_category AS keyword_category,
    written_interactions.dispatch_id AS dispatch_id,
    written_interactions.send_id AS send_id,
    written_interactions.is_suspected_bot_click AS is_suspected_bot_click
  FROM "lake"."messaging"."compaction_0123" FOR VERSION AS OF 20 AS written_interactions
)
SELECT
  sides.side AS side,
  sides.source_id AS source_id,
  COUNT(*) AS row_count,
  CAST(TO_HEX(
    CHECKSUM(
      ROW(
        sides.event_id,
        sides.event_type,
        sides.occurred_at,
        sides.user_id,
        sides.external_user_id,
        sides.source_id,
        sides.source_kind,
        sides.canvas_step_id,
        sides.variant_id,
        sides.channel,
        sides.interaction,
        sides.link_alias,
        sides.machine_open,
        sides.conversion_index,
        sides.keyword_category,
        sides.dispatch_id,
        sides.send_id,
        sides.is_suspected_bot_click
      )
    )
  ) AS VARCHAR) AS row_hash
FROM sides AS sides
GROUP BY
  sides.side,
  sides.source_id
-- source_ids_1 = "it's spring"
-- source_ids_2 = 'journey'
