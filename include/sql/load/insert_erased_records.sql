-- Purpose: add the records whose user was erased (R22); what is ignored is not stored in any case.
-- Grain: record. Reads `suppressed_users`, where a row has one of the two ids.
INSERT INTO erased_records
SELECT
    events.file_no,
    events.line
FROM events
WHERE
    events.outcome <> 'ignored'
    AND (
        events.user_id IN (SELECT user_id FROM suppressed_users)
        OR events.external_user_id IN (SELECT external_user_id FROM suppressed_users)
    )
