-- Campaigns and Canvases. Grain: one row a source.
-- Edit it to read your own platform's tables; keep the column names. Times without a zone are UTC.
-- A time that stands for "never" has to be null: a sync refuses times before 2000 and deletions later than now, and
-- names the expression to select instead, such as NULLIF(stopped_at, 0) AS stopped_at (R24).
SELECT
    source_id,
    kind,                        -- campaign | canvas
    name,
    status,                      -- draft | active | stopped | archived
    created_at,
    stopped_at,
    last_sent_at,
    owner_email,
    interaction_data_deleted_at
FROM sources
ORDER BY source_id
