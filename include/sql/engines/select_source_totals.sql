-- What hot and archive hold of each source, from the manifests, for an engine that nothing can be handed to.
-- Grain: one row a table and source. Reads interactions_partitions, interactions_archive_partitions.
SELECT
    'interactions' AS table_name,
    source_id,
    file_count,
    row_count,
    total_bytes
FROM interactions_partitions
UNION ALL
SELECT
    'interactions_archive' AS table_name,
    source_id,
    file_count,
    row_count,
    total_bytes
FROM interactions_archive_partitions
