-- Sample workspace: what the platform says of each source. Grain: one row a source. Runs on SQLite.
SELECT
    source_id,
    status
FROM sources
ORDER BY source_id
