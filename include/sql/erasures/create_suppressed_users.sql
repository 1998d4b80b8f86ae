-- Which of the ids that have arrived are suppressed, by their HMAC-SHA256; see `erasures/hashes.py` (R22).
-- Grain: one row an id of either kind; the other column is null. Reads arrived_users and suppressed_hashes.
-- Binds: $inner_pad, $outer_pad.
CREATE OR REPLACE TEMP TABLE suppressed_users AS
WITH
ids AS (
    SELECT DISTINCT
        user_id,
        NULL::VARCHAR AS external_user_id,
        user_id AS hashed_text
    FROM arrived_users
    WHERE user_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT
        NULL::VARCHAR AS user_id,
        external_user_id,
        'external_user_id' || chr(10) || external_user_id AS hashed_text
    FROM arrived_users
    WHERE external_user_id IS NOT NULL
),

hashed AS (
    SELECT
        user_id,
        external_user_id,
        sha256($outer_pad::BLOB || unhex(sha256($inner_pad::BLOB || encode(hashed_text)))) AS user_id_hash
    FROM ids
)

SELECT
    hashed.user_id,
    hashed.external_user_id
FROM hashed
SEMI JOIN suppressed_hashes USING (user_id_hash)
