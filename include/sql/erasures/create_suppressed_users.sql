-- Who of those who have arrived is suppressed, by the HMAC-SHA256 of the user id (R22).
-- Grain: one row a user. Reads arrived_users and suppressed_hashes. Binds: $inner_pad, $outer_pad.
CREATE OR REPLACE TEMP TABLE suppressed_users AS
WITH
users AS (
    SELECT DISTINCT user_id
    FROM arrived_users
    WHERE user_id IS NOT NULL
),

hashed AS (
    SELECT
        user_id,
        sha256($outer_pad::BLOB || unhex(sha256($inner_pad::BLOB || encode(user_id)))) AS user_id_hash
    FROM users
)

SELECT hashed.user_id
FROM hashed
SEMI JOIN suppressed_hashes USING (user_id_hash)
