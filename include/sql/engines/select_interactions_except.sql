-- What features may see of all sources, for an engine that reads the tables itself.
-- Grain: one row an interaction. Reads interactions. Binds: $hidden_ids (list of text), the hidden sources
-- that have rows here all the same.
-- Rules: R14, R18; which sources are hidden is decided in process, from the same moment.
SELECT *
FROM interactions
WHERE source_id NOT IN (SELECT unnest($hidden_ids::VARCHAR[]))
