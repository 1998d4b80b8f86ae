-- The hot files that some archived files have the rows of. A file that an erasure has written has none of them.
-- Grain: one row a file. Binds: $file_uris (list of text).
-- R22
SELECT
    file_uri,
    any_value(original_uris) AS original_uris
FROM archived_files
WHERE file_uri IN (SELECT unnest($file_uris::VARCHAR[]))
GROUP BY file_uri
