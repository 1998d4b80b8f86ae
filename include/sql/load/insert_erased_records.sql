-- Purpose: add the records whose user was erased (R22); what is ignored is not stored in any case.
-- Grain: record. Reads `suppressed_users`.
INSERT INTO erased_records
SELECT
    events.file_no,
    events.line
FROM events
SEMI JOIN suppressed_users ON events.user_id = suppressed_users.user_id
WHERE events.outcome <> 'ignored'
