-- Every row of some sources, for an engine that writes them into fewer files; in the order that such a file has.
-- Grain: one row an interaction. Reads interactions, pinned. Binds: $source_ids (list of text).
-- M7
SELECT *
FROM interactions
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
ORDER BY source_id, occurred_at
-- source_ids = ["it's spring", 'journey']
