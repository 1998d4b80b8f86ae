-- Purpose: the load's rows of `rejected_events`, without those that an earlier load of the same file has recorded.
-- Grain: record. Binds: now. Reads `rejected_events`, or nothing where no file of the load was ever loaded before.
CREATE TABLE new_rejected_events AS
WITH rejections AS (
    SELECT
        batch_files.file_no,
        batch_files.file_uri,
        events.line,
        events.reason,
        coalesce(
            events.payload,
            left(
                json_merge_patch(
                    '{}',
                    to_json(
                        struct_pack(
                            event_type := events.event_type, id := events.id, time := events.time,
                            user_id := events.user_id, external_user_id := events.external_user_id,
                            campaign_id := events.campaign_id, canvas_id := events.canvas_id
                        )
                    )
                )::VARCHAR, 100000
            )
        ) AS payload
    FROM events
    INNER JOIN batch_files ON events.file_no = batch_files.file_no
    WHERE events.outcome = 'rejected'
)

SELECT
    rejections.file_no,
    rejections.file_uri,
    rejections.line,
    rejections.reason,
    rejections.payload,
    $now::TIMESTAMPTZ AS rejected_at
FROM rejections
ANTI JOIN rejected_events
    ON
        rejections.file_uri = rejected_events.file_uri
        AND rejections.line = rejected_events.line
        AND rejections.reason = rejected_events.reason
        AND rejections.payload = rejected_events.payload
