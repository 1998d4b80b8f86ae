-- The rejected records of users that are to be erased; of which user each is, is not known.
-- Grain: one row a file. Reads found (perennial_file).
-- R22
SELECT
    perennial_file,
    NULL::VARCHAR AS user_id,
    count(*) AS row_count
FROM found
GROUP BY perennial_file
