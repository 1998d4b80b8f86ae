-- What the platform calls the owners of audiences.
-- Grain: one row an owner. Reads audiences. Binds: $owner_ids (list of text).
SELECT
    owner_kind,
    owner_id,
    max(owner_name) AS owner_name
FROM audiences
WHERE owner_id IN (SELECT unnest($owner_ids::VARCHAR[]))
GROUP BY owner_kind, owner_id
