-- What sources are called; of one that is listed twice, the same name as its state has.
-- Grain: one row a source. Reads known_sources.
SELECT
    source_id,
    max(name) AS name
FROM known_sources
GROUP BY source_id
