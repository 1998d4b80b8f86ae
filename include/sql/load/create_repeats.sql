-- Purpose: deliveries that add nothing: of events the ledger has from an earlier load, and all but the first of an
-- event in this load.
-- Grain: record. Reads `known_events`.
CREATE TABLE repeats AS
WITH deliveries AS (
    SELECT
        id,
        file_no,
        line
    FROM events
    WHERE outcome = 'event'
),

firsts AS (
    SELECT
        id,
        min((file_no, line)) AS first_delivery
    FROM deliveries
    GROUP BY id
    HAVING count(*) > 1
)

SELECT
    deliveries.file_no,
    deliveries.line
FROM deliveries
LEFT JOIN known_events AS known ON deliveries.id = known.id
LEFT JOIN firsts ON deliveries.id = firsts.id
WHERE known.id IS NOT NULL OR firsts.first_delivery <> (deliveries.file_no, deliveries.line)
