-- Audience definitions. Grain: one row an owner and part.
-- Edit it to read your own platform's tables; keep the column names. A definition that cannot be read fails no sync:
-- while an active campaign or Canvas reaches it, it keeps every source that it could name (R4). Map what you know.
SELECT
    owner_kind,                  -- campaign | canvas | segment | content_card
    owner_id,
    owner_name,
    owner_status,                -- draft | active | stopped | archived
    part,                        -- 'audience', or the id of the Canvas step whose own audience it is
    definition                   -- JSON of the filter catalogue
FROM audiences
ORDER BY owner_kind, owner_id, part
