-- The files that may have rows of some users, by their digests: those left out have none.
-- Grain: one row a file. Reads digests and erased_users.
-- R22
SELECT DISTINCT file_uri
FROM digests
WHERE user_hash IN (SELECT (md5_number(erased_id) % 4294967296)::BIGINT FROM erased_users)
