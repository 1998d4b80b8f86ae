-- Purpose: the rejected records without a readable user, as texts in which one may be named (R22).
-- Grain: record. Those in `erased_records` are left out.
SELECT
    events.file_no,
    events.line,
    coalesce(events.payload, to_json(struct_pack(external_user_id := events.external_user_id))::VARCHAR) AS payload
FROM events
ANTI JOIN erased_records ON events.file_no = erased_records.file_no AND events.line = erased_records.line
WHERE events.outcome = 'rejected' AND events.user_id IS NULL
