-- Whether any of the digests is of a file that is gone.
-- Grain: one row if so, else none. Reads digests and gone (file_uri).
-- R22
SELECT 1 AS found
FROM digests
WHERE file_uri IN (SELECT file_uri FROM gone)
ORDER BY found
LIMIT 1
