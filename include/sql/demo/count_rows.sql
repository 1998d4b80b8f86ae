-- Interactions in hot, in the archive, and visible to features.
-- Grain: one row.
SELECT
    (SELECT coalesce(sum(row_count), 0)::BIGINT FROM source_totals WHERE table_name = 'interactions') AS hot,
    (SELECT coalesce(sum(row_count), 0)::BIGINT FROM source_totals WHERE table_name = 'interactions_archive') AS archived,
    (SELECT count(*) FROM available_interactions) AS visible
