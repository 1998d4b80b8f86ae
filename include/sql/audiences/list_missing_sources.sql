-- Of some sources, those whose interactions are not all there to be read: expired, or deleted (R14, R18).
-- Grain: one row a source, in order of name. Binds: $source_ids (list of text); null: of all sources.
-- Reads source_states, lifecycle_events, misplaced_rows: state archived is an available source of which another program
-- has put rows into the archive. A deleted source that is active again shows what happened since; what was
-- deleted is missing all the same. How much lies in the archive follows from the moves since the last restore: to read
-- the archive's manifests would take as long as the archive is large.
WITH missing AS (
    SELECT
        source_states.*,
        misplaced_rows.row_count AS misplaced_count
    FROM source_states
    LEFT JOIN misplaced_rows USING (source_id)
    WHERE
        (state <> 'available' OR misplaced_rows.row_count > 0)
        AND ($source_ids::VARCHAR[] IS NULL OR source_id IN (SELECT unnest($source_ids::VARCHAR[])))
),

moves AS (
    SELECT
        source_id,
        event,
        row_count,
        coalesce(recorded_at, occurred_at) AS moved_at
    FROM lifecycle_events
    SEMI JOIN missing USING (source_id)
),

restores AS (
    SELECT
        source_id,
        max(moved_at) AS restored_at
    FROM moves
    WHERE event = 'restored'
    GROUP BY source_id
),

archived AS (
    SELECT
        moves.source_id,
        sum(moves.row_count)::BIGINT AS row_count
    FROM moves
    LEFT JOIN restores ON moves.source_id = restores.source_id
    WHERE moves.event <> 'restored' AND (restores.restored_at IS NULL OR moves.moved_at > restores.restored_at)
    GROUP BY moves.source_id
)

SELECT
    missing.source_id,
    coalesce(missing.kind, 'source') AS kind,
    coalesce(missing.name, missing.source_id) AS name,
    CASE missing.state WHEN 'available' THEN 'archived' ELSE missing.state END AS state,
    CASE WHEN missing.state <> 'available' THEN missing.since END AS since,
    CASE missing.state
        WHEN 'expired' THEN coalesce(archived.row_count, 0)
        WHEN 'available' THEN missing.misplaced_count
        ELSE 0
    END AS archived_rows
FROM missing
LEFT JOIN archived USING (source_id)
ORDER BY name, missing.source_id
