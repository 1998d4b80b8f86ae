-- The digests of the files in `digesting`: 32 bits of a hash of each user id in the rows of `searched`. Files are told
-- apart by number, because their addresses take ten times the memory.
-- Grain: one row a file and hash. Reads searched (user_id, perennial_file) and digesting (path, file_uri, number).
-- R22
CREATE OR REPLACE TEMP VIEW fresh_digests AS
WITH
hashed_users AS (
    SELECT DISTINCT
        digesting.number,
        (md5_number(searched.user_id) % 4294967296)::BIGINT AS user_hash
    FROM searched
    INNER JOIN digesting ON searched.perennial_file = digesting.path
)

SELECT
    digesting.file_uri,
    hashed_users.user_hash
FROM hashed_users
INNER JOIN digesting ON hashed_users.number = digesting.number
