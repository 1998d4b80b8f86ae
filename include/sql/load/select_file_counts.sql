-- Purpose: the rows that the quality check of a load looks at.
-- Grain: landing file.
SELECT
    file_uri,
    read_count AS read,
    interaction_count AS interactions,
    summary_only_count AS summary_only,
    duplicate_count AS duplicates,
    ignored_count AS ignored,
    rejected_count AS rejected,
    erased_count AS erased
FROM file_counts
ORDER BY file_no
