SELECT
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
FROM `lake`.`messaging`.`interactions` VERSION AS OF 7 AS interactions
WHERE
  interactions.source_id IN (:source_ids_1, :source_ids_2)
ORDER BY
  interactions.source_id NULLS LAST,
  interactions.occurred_at NULLS LAST
-- source_ids_1 = "it's spring"
-- source_ids_2 = 'journey'
