-- The archived files that were damaged or missing when they were last checked, with whom to notify.
-- Grain: one row a file. Reads listed_files, archive_checks and known_sources.
-- R8
WITH
last_checks AS (
    SELECT
        file_uri,
        arg_max(outcome, checked_at) AS outcome,
        arg_max(detail, checked_at) AS detail
    FROM archive_checks
    WHERE outcome <> 'cold'
    GROUP BY file_uri
)

SELECT
    last_checks.file_uri,
    listed_files.source_id,
    coalesce(known_sources.name, '') AS source_name,
    coalesce(known_sources.owner_email, '') AS owner_email,
    last_checks.outcome,
    coalesce(last_checks.detail, '') AS detail
FROM last_checks
INNER JOIN listed_files ON last_checks.file_uri = listed_files.file_uri
LEFT JOIN known_sources ON listed_files.source_id = known_sources.source_id
WHERE last_checks.outcome IN ('damaged', 'missing')
ORDER BY source_name, listed_files.source_id, last_checks.file_uri
