-- The rows of users that are to be erased.
-- Grain: one row a file and user. Reads found (user_id, perennial_file).
-- R22
SELECT
    perennial_file,
    user_id,
    count(*) AS row_count
FROM found
GROUP BY perennial_file, user_id
