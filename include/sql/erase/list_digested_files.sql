-- The files that have a digest.
-- Grain: one row a file. Reads digests.
-- R22
SELECT DISTINCT file_uri
FROM digests
