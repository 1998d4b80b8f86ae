-- Every audience, whatever its owner and its status.
-- Grain: one row an owner and part. Reads audiences.
SELECT
    owner_kind,
    owner_id,
    owner_name,
    owner_status,
    part,
    definition
FROM audiences
ORDER BY owner_kind, owner_id, part
