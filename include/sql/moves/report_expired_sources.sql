-- What one expiry run moved to the archive; of a dry run, what it would have moved.
-- Grain: one row a source, in order of owner and name.
-- Binds: $run_id, $as_of, $would_expire (list of source ids, empty unless the run was dry).
-- R8. Late rows (R9) were announced when their source expired, so they are not announced again; but what a writer has
-- changed while its source expired leaves in a second move of the same run.
WITH moved AS (
    SELECT
        source_id,
        sum(row_count)::BIGINT AS row_count,
        sum(total_bytes)::BIGINT AS total_bytes,
        sum(file_count)::BIGINT AS file_count
    FROM lifecycle_events
    WHERE run_id = $run_id AND occurred_at = $as_of AND event <> 'restored'
    GROUP BY source_id
    HAVING bool_or(event = 'expired')
    UNION ALL
    SELECT
        source_id,
        row_count,
        total_bytes,
        file_count
    FROM source_totals
    WHERE table_name = 'interactions' AND source_id IN (SELECT unnest($would_expire::VARCHAR[]))
),

reasons AS (
    SELECT
        source_id,
        any_value(reason) AS reason
    FROM expiry_decisions
    WHERE run_id = $run_id AND as_of = $as_of AND decision = 'expire'
    GROUP BY source_id
)

SELECT
    moved.source_id,
    coalesce(known_sources.name, moved.source_id) AS name,
    coalesce(known_sources.kind, 'source') AS kind,
    known_sources.owner_email,
    coalesce(reasons.reason, '') AS reason,
    moved.row_count,
    moved.total_bytes,
    moved.file_count
FROM moved
LEFT JOIN known_sources USING (source_id)
LEFT JOIN reasons USING (source_id)
ORDER BY known_sources.owner_email, name, moved.source_id
