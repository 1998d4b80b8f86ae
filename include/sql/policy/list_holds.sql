-- The holds that count at a moment, the first to end first.
-- Grain: one row a hold. Binds: $as_of. Reads standing_holds, source_holds, source_availability.
-- Rules: R19. kept_count is how many of its sources have data in hot that it keeps: a hold brings nothing back.
WITH kept AS (
    SELECT
        source_holds.hold_id,
        count(*) AS kept_count
    FROM source_holds
    INNER JOIN source_availability ON source_holds.source_id = source_availability.source_id
    WHERE source_availability.state = 'available'
    GROUP BY source_holds.hold_id
)

SELECT
    holds.hold_id,
    holds.source_id,
    holds.tag,
    holds.held_by,
    holds.reason,
    holds.held_at,
    holds.until,
    coalesce(kept.kept_count, 0) AS kept_count
FROM standing_holds AS holds
LEFT JOIN kept ON holds.hold_id = kept.hold_id
WHERE holds.until IS NULL OR holds.until > $as_of
ORDER BY holds.until ASC NULLS LAST, holds.held_at ASC, holds.hold_id ASC
