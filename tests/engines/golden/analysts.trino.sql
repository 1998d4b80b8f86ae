WITH retention AS (  -- as in views.trino.sql
), absent_sources AS (  -- as in views.trino.sql
), known_sources AS (  -- as in views.trino.sql
), source_moves AS (  -- as in views.trino.sql
), source_states AS (  -- as in views.trino.sql
), hidden_sources AS (  -- as in views.trino.sql
), available_interactions AS (  -- as in views.trino.sql
), campaign_interactions AS (  -- as in views.trino.sql
), opened AS (
  SELECT
    source_name,
    user_id,
    DATE_TRUNC('WEEK', AT_TIMEZONE(occurred_at, 'Europe/Berlin')) AS week
  FROM campaign_interactions AS Campaign_Interactions
  WHERE
    interaction = 'opened'
    AND occurred_at >= CAST(:since AS TIMESTAMP(6) WITH TIME ZONE)
)
SELECT
  opened.source_name,
  opened.week,
  COUNT(DISTINCT opened.user_id) AS people
FROM opened
INNER JOIN "lake"."messaging"."users" FOR VERSION AS OF 2009 AS users
  ON opened.user_id = users.user_id
GROUP BY
  opened.source_name,
  opened.week
ORDER BY
  opened.week DESC
-- retention_months = 3
-- since = '2026-06-01 04:00:00.000000 UTC'
