-- What source_moves would say of some sources if they came back now (R13).
-- Grain: one row a source. Binds: $source_ids (list of text), $now.
SELECT
    unnest($source_ids::VARCHAR[]) AS source_id,
    'restored' AS last_event,
    $now::TIMESTAMPTZ AS last_moved_at,
    $now::TIMESTAMPTZ AS last_restored_at
