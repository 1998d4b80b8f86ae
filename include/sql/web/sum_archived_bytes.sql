-- How much the archive holds of some sources.
-- Grain: one row. Binds: $source_ids (list of text). Reads source_totals.
SELECT coalesce(sum(total_bytes), 0)::BIGINT AS total_bytes
FROM source_totals
WHERE
    table_name = 'interactions_archive'
    AND source_id IN (SELECT unnest($source_ids::VARCHAR[]))
