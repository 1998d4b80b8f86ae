-- Purpose: the days on which the load's events happened; only these need looking up in the ledger.
-- Grain: UTC day (its start).
SELECT DISTINCT date_trunc('day', occurred_at) AS day_start
FROM events
WHERE outcome = 'event'
ORDER BY day_start
