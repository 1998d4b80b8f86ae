SELECT
  loaded_files.file_uri AS file_uri,
  loaded_files.loaded_at AS loaded_at,
  loaded_files.row_count AS row_count,
  loaded_files.rejected_count AS rejected_count,
  loaded_files.ignored_count AS ignored_count,
  loaded_files.file_bytes AS file_bytes,
  loaded_files.modified_at AS modified_at,
  loaded_files.duplicate_count AS duplicate_count,
  loaded_files.load_id AS load_id,
  loaded_files.erased_count AS erased_count
FROM (
  SELECT
    CAST(NULL AS VARCHAR) AS file_uri,
    CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS loaded_at,
    CAST(NULL AS BIGINT) AS row_count,
    CAST(NULL AS BIGINT) AS rejected_count,
    CAST(NULL AS BIGINT) AS ignored_count,
    CAST(NULL AS BIGINT) AS file_bytes,
    CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS modified_at,
    CAST(NULL AS BIGINT) AS duplicate_count,
    CAST(NULL AS VARCHAR) AS load_id,
    CAST(NULL AS BIGINT) AS erased_count
  WHERE
    FALSE
) AS loaded_files
