-- Which sources' rows data files hold, and how many; read from the files themselves.
-- Grain: one row a file and source. Binds: $paths (list of text).
SELECT
    filename,
    source_id,
    count(*) AS row_count
FROM read_parquet($paths::VARCHAR[])
GROUP BY filename, source_id
