WITH retention AS (  -- as in views.spark.sql
), absent_sources_missed AS (  -- as in views.spark.sql
), absent_sources AS (  -- as in views.spark.sql
), known_sources AS (  -- as in views.spark.sql
), source_moves_moves AS (  -- as in views.spark.sql
), source_moves AS (  -- as in views.spark.sql
), source_states_listed AS (  -- as in views.spark.sql
), source_states_clocks AS (  -- as in views.spark.sql
), source_states AS (  -- as in views.spark.sql
), hidden_sources AS (  -- as in views.spark.sql
), available_interactions AS (  -- as in views.spark.sql
), campaign_interactions AS (  -- as in views.spark.sql
), opened AS (
  SELECT
    source_name,
    user_id,
    DATE_TRUNC('WEEK', FROM_UTC_TIMESTAMP(CAST(occurred_at AS TIMESTAMP), 'Europe/Berlin')) AS week
  FROM campaign_interactions AS Campaign_Interactions
  WHERE
    interaction = 'opened' AND occurred_at >= :since
)
SELECT
  opened.source_name,
  opened.week,
  COUNT(DISTINCT opened.user_id) AS people
FROM opened
INNER JOIN `lake`.`messaging`.`users` VERSION AS OF 2009 AS users
  ON opened.user_id = users.user_id
GROUP BY
  opened.source_name,
  opened.week
ORDER BY
  opened.week DESC
-- retention_months = 3
-- since = datetime.datetime(2026, 6, 1, 4, 0, tzinfo=datetime.timezone.utc)
