-- What the hot table holds of ids that no sync has seen: they have no clock and stay there.
-- Grain: one row a source_id, the largest first. Reads source_totals, known_sources. Rules: R1, R3.
SELECT
    source_id,
    row_count
FROM source_totals
WHERE
    table_name = 'interactions'
    AND source_id NOT IN (SELECT source_id FROM known_sources)
ORDER BY row_count DESC, source_id ASC
