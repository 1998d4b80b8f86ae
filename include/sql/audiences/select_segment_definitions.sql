-- The definitions of some segments.
-- Grain: one row a segment. Binds: $segment_ids (list of text).
SELECT
    owner_id,
    definition
FROM audiences
WHERE owner_kind = 'segment' AND part = 'audience' AND owner_id IN (SELECT unnest($segment_ids::VARCHAR[]))
