-- How much of the archive as it is now has been checked since a moment, and what a run has found.
-- Grain: one row. Reads listed_files and archive_checks. Binds: $since, $run_id.
-- R8
WITH
last_checks AS (
    SELECT
        file_uri,
        max(checked_at) FILTER (WHERE outcome <> 'cold') AS checked_at
    FROM archive_checks
    GROUP BY file_uri
),

run_checks AS (
    SELECT
        count(*) FILTER (WHERE outcome <> 'cold') AS read_count,
        count(*) FILTER (WHERE outcome = 'cold') AS cold_count
    FROM archive_checks
    WHERE run_id = $run_id
),

coverage AS (
    SELECT
        count(*) AS archived_count,
        count(*) FILTER (WHERE last_checks.checked_at >= $since) AS checked_count
    FROM listed_files
    LEFT JOIN last_checks ON listed_files.file_uri = last_checks.file_uri
)

SELECT
    coverage.archived_count,
    coverage.checked_count,
    run_checks.read_count,
    run_checks.cold_count
FROM coverage
CROSS JOIN run_checks
