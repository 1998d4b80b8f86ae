-- Purpose: the landing files that no load has read as they are now.
-- Grain: landing file, oldest first. Reads `landing_files` (the listing) and `loaded_files`.
SELECT
    landing_files.file_uri,
    landing_files.file_bytes,
    landing_files.modified_at,
    landing_files.file_uri IN (SELECT earlier.file_uri FROM loaded_files AS earlier) AS known_before
FROM landing_files
ANTI JOIN loaded_files
    ON
        landing_files.file_uri = loaded_files.file_uri
        AND landing_files.file_bytes = loaded_files.file_bytes
        AND landing_files.modified_at = loaded_files.modified_at
ORDER BY landing_files.modified_at, landing_files.file_uri
