-- The landing files that an erasure was about to replace when it was last seen (R22).
-- Grain: one row a file and attempt. Reads loaded_files.
SELECT
    announced.file_uri,
    announced.file_bytes,
    announced.load_id
FROM loaded_files AS announced
WHERE
    announced.modified_at IS NULL
    AND announced.load_id LIKE 'erasure:%'
    AND announced.load_id NOT IN (
        SELECT confirmed.load_id
        FROM loaded_files AS confirmed
        WHERE confirmed.modified_at IS NOT NULL AND confirmed.load_id IS NOT NULL
    )
