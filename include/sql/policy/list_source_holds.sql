-- The holds that keep sources, of each source the longest first.
-- Grain: one row a source and hold. Reads source_holds. Rules: R19.
SELECT
    source_id,
    hold_id,
    tag,
    held_by,
    reason,
    held_at,
    until,
    words
FROM source_holds
ORDER BY source_id ASC, until DESC NULLS FIRST, held_at ASC, hold_id ASC
