-- Purpose: the load's rows of `loaded_files`.
-- Grain: landing file. Binds: now, load_id.
CREATE TABLE new_loaded_files AS
SELECT
    batch_files.file_uri,
    $now::TIMESTAMPTZ AS loaded_at,
    file_counts.interaction_count AS row_count,
    file_counts.rejected_count,
    file_counts.ignored_count,
    batch_files.file_bytes,
    batch_files.modified_at,
    file_counts.duplicate_count,
    $load_id AS load_id,
    file_counts.erased_count
FROM batch_files
INNER JOIN file_counts ON batch_files.file_no = file_counts.file_no
