-- The archived files that a run checks: those that nobody has checked first, then the longest unchecked; besides, all
-- that were damaged or missing when they were last checked, so that every run says what is wrong now.
-- Grain: one row a file, in that order. Reads listed_files, archive_checks and archived_files. Binds: $sample_percent.
-- R8, R17
WITH
last_checks AS (
    SELECT
        file_uri,
        max(checked_at) AS checked_at,
        arg_max(outcome, checked_at) FILTER (WHERE outcome <> 'cold') AS outcome
    FROM archive_checks
    GROUP BY file_uri
),

-- A repeated move may have written a file again, so its latest record counts.
records AS (
    SELECT
        file_uri,
        arg_max(checksum, archived_at) AS checksum,
        arg_max(row_count, archived_at) AS row_count
    FROM archived_files
    GROUP BY file_uri
),

placed AS (
    SELECT
        listed_files.*,
        coalesce(last_checks.outcome IN ('damaged', 'missing'), FALSE) AS is_bad,
        row_number() OVER (ORDER BY last_checks.checked_at NULLS FIRST, listed_files.file_uri) AS place,
        count(*) OVER () AS file_count
    FROM listed_files
    LEFT JOIN last_checks ON listed_files.file_uri = last_checks.file_uri
)

SELECT
    placed.file_uri,
    placed.source_id,
    placed.file_bytes,
    records.checksum,
    records.row_count,
    placed.is_bad
FROM placed
LEFT JOIN records ON placed.file_uri = records.file_uri
WHERE placed.is_bad OR placed.place <= ceil(placed.file_count * $sample_percent / 100)
ORDER BY placed.place
