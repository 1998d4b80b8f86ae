-- Purpose: the days on which the load's events happened; only these need looking up in the ledger.
-- Grain: UTC day (microseconds since 1970 of its start).
SELECT DISTINCT epoch_us(date_trunc('day', occurred_at)) AS day_start
FROM events
WHERE outcome = 'event'
ORDER BY day_start
