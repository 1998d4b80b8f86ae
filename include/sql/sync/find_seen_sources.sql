-- Which of some ids an expiry has decided about, or any run has moved: a sync has seen these.
-- Grain: one row a source, in order of id. Binds: $source_ids (list of text). Reads expiry_decisions, lifecycle_events.
WITH seen AS (
    SELECT source_id FROM expiry_decisions
    UNION
    SELECT source_id FROM lifecycle_events
)

SELECT source_id
FROM seen
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
ORDER BY source_id
