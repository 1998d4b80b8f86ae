-- Purpose: the rejected records without a readable user, as texts in which one may be named (R22).
-- Grain: record.
SELECT
    file_no,
    line,
    coalesce(payload, to_json(struct_pack(external_user_id := external_user_id))::VARCHAR) AS payload
FROM events
WHERE outcome = 'rejected' AND user_id IS NULL
