-- The digests without those of files that are gone.
-- Grain: one row a file and hash. Reads digests and gone (file_uri).
-- R22
CREATE OR REPLACE TEMP VIEW kept_digests AS
SELECT DISTINCT
    digests.file_uri,
    digests.user_hash
FROM digests
ANTI JOIN gone ON digests.file_uri = gone.file_uri
