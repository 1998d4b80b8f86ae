-- The files that the archive has or had of some sources, with what they were made of.
-- Grain: one row a file and move. Binds: $source_ids (list of text).
SELECT
    source_id,
    file_uri,
    original_uris
FROM archived_files
WHERE list_contains($source_ids::VARCHAR[], source_id)
