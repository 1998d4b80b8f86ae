-- What features may see of some sources, for an engine that reads the tables itself.
-- Grain: one row an interaction. Reads interactions. Binds: $source_ids (list of text), none of them hidden.
-- Rules: R14, R18; which sources are hidden is decided in process, from the same moment.
SELECT *
FROM interactions
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
