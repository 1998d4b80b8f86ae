-- The checksums of the files that the archive has or had of some sources; the latest of a file stands, because a
-- repeated move may have written it again. Version 0.1 wrote SHA-256 without saying so.
-- Grain: one row a file. Binds: $source_ids (list of text).
SELECT
    file_uri,
    max_by(if(contains(checksum, ':'), checksum, 'sha256:' || checksum), archived_at) AS checksum
FROM archived_files
WHERE source_id IN (SELECT unnest($source_ids::VARCHAR[]))
GROUP BY file_uri
