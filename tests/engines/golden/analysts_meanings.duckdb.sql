SELECT
    date_diff('minute', occurred_at, $at) AS minutes,
    date_diff('week', occurred_at, $at) AS weeks,
    date_diff('month', occurred_at, $at) AS months,
    dayofweek(occurred_at) AS sunday_0,
    isodow(occurred_at) AS monday_1,
    monthname(occurred_at) AS month_name,
    dayname(occurred_at) AS day_name,
    date_trunc('day', occurred_at AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS began_at,
    CAST(count(*) / 2 AS BIGINT) AS half,
    CAST(2.5 AS INTEGER) AS three,
    list(source_name ORDER BY event_id DESC) AS names,
    median(conversion_index) AS middle,
    printf('%d', count(*)) AS printed
FROM campaign_interactions
WHERE source_name LIKE 'a\b%'
GROUP BY ALL
-- at = datetime.datetime(2026, 6, 1, 4, 0, tzinfo=datetime.timezone.utc)
