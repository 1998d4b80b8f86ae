-- Where some sources stand in the list.
-- Grain: one row a source that is listed. Reads listed_sources, wanted (source_id).
SELECT position
FROM listed_sources
WHERE source_id IN (SELECT wanted.source_id FROM wanted)
