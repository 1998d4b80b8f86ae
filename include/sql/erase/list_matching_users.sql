-- The users of whom some files may have rows, by their digests; all users if one of the files has no digest.
-- Grain: one row a user. Reads digests and erased_users. Binds: $file_uris (list of text), $any_user.
-- R22
SELECT erased_id
FROM erased_users
WHERE
    $any_user
    OR (md5_number(erased_id) % 4294967296)::BIGINT IN (
        SELECT user_hash
        FROM digests
        WHERE file_uri IN (SELECT unnest($file_uris::VARCHAR[]))
    )
ORDER BY erased_id
