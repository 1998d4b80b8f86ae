-- Purpose: where every record of each landing file went (a record that an earlier load has, loaded or rejected, is a
-- duplicate), counted from what is about to be written, not by taking one from the other.
-- Grain: landing file. `read_count` is what the reader came across.
CREATE TABLE file_counts AS
WITH looked_at AS (
    SELECT
        file_no,
        count(*) FILTER (WHERE outcome = 'ignored') AS ignored_count,
        count(*) FILTER (WHERE outcome = 'rejected') AS unreadable_count
    FROM events
    GROUP BY file_no
),

fresh AS (
    SELECT
        file_no,
        count(*) FILTER (WHERE is_interaction) AS interaction_count,
        count(*) FILTER (WHERE NOT is_interaction) AS summary_only_count
    FROM fresh_events
    GROUP BY file_no
),

repeated AS (
    SELECT
        file_no,
        count(*) AS repeat_count
    FROM repeats
    GROUP BY file_no
),

rejected AS (
    SELECT
        file_no,
        count(*) AS rejected_count
    FROM new_rejected_events
    GROUP BY file_no
)

SELECT
    batch_files.file_no,
    batch_files.file_uri,
    batch_files.record_count AS read_count,
    coalesce(fresh.interaction_count, 0) AS interaction_count,
    coalesce(fresh.summary_only_count, 0) AS summary_only_count,
    coalesce(repeated.repeat_count, 0) + coalesce(looked_at.unreadable_count, 0) - coalesce(rejected.rejected_count, 0)
        AS duplicate_count,
    coalesce(looked_at.ignored_count, 0) + batch_files.counted_count AS ignored_count,
    coalesce(rejected.rejected_count, 0) AS rejected_count,
    (
        SELECT count(*)
        FROM erased_records
        WHERE erased_records.file_no = batch_files.file_no
    ) AS erased_count
FROM batch_files
LEFT JOIN looked_at ON batch_files.file_no = looked_at.file_no
LEFT JOIN fresh ON batch_files.file_no = fresh.file_no
LEFT JOIN repeated ON batch_files.file_no = repeated.file_no
LEFT JOIN rejected ON batch_files.file_no = rejected.file_no
