SELECT
    source_name,
    date_trunc('week', occurred_at) AS week,
    count(DISTINCT user_id) FILTER (machine_open IS NOT TRUE) AS people
FROM campaign_interactions
WHERE interaction = 'opened' AND occurred_at >= $since
GROUP BY ALL
HAVING people > 0
ORDER BY week DESC, people DESC, source_name
-- since = datetime.datetime(2026, 6, 1, 4, 0, tzinfo=datetime.timezone.utc)
