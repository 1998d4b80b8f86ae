-- The files that one run has put into the archive, with their sizes.
-- Grain: one row a file. Binds: $run_id.
-- The checksums of a move are noted before its event is recorded, so an event's move is the latest noted until then.
WITH moves AS (
    SELECT
        events.source_id,
        max_by(files.move_id, files.archived_at) AS move_id
    FROM lifecycle_events AS events
    INNER JOIN archived_files AS files
        ON events.source_id = files.source_id AND events.recorded_at >= files.archived_at
    WHERE events.run_id = $run_id AND events.event IN ('expired', 'late_archived')
    GROUP BY events.event_id, events.source_id
)

SELECT
    files.source_id,
    files.file_bytes
FROM archived_files AS files
SEMI JOIN moves ON files.source_id = moves.source_id AND files.move_id = moves.move_id
