-- All that was recorded of some files when they were archived.
-- Grain: one row a file and move, as in archived_files. Binds: $file_uris (list of text).
SELECT
    file_uri,
    source_id,
    original_uris,
    row_count,
    file_bytes,
    checksum,
    move_id,
    archived_at
FROM archived_files
WHERE list_contains($file_uris::VARCHAR[], file_uri)
