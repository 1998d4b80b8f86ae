-- Purpose: the landing files that no load has read as they are now.
-- Grain: landing file, oldest first. Reads `landing_files` (the listing) and `loaded_files`.
-- Before an erasure replaces a loaded file (R22), it announces its new size; when it has, also its time. Until then a
-- file of that size counts as loaded, whenever it was written.
WITH confirmed AS (
    SELECT load_id
    FROM loaded_files
    WHERE modified_at IS NOT NULL AND load_id LIKE 'erasure:%'
)

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
        AND (
            landing_files.modified_at = loaded_files.modified_at
            OR (
                loaded_files.modified_at IS NULL
                AND loaded_files.load_id LIKE 'erasure:%'
                AND loaded_files.load_id NOT IN (SELECT confirmed.load_id FROM confirmed)
            )
        )
ORDER BY landing_files.modified_at, landing_files.file_uri
