-- The holds that nobody has lifted; the end of some may have passed.
-- Grain: one row a hold. Reads holds. Rules: R19.
CREATE VIEW standing_holds AS
SELECT
    placed.hold_id,
    placed.source_id,
    placed.tag,
    placed.held_by,
    placed.reason,
    placed.held_at,
    placed.until
FROM holds AS placed
WHERE
    placed.event = 'placed'
    AND NOT EXISTS (
        SELECT 1 FROM holds AS lifted
        WHERE lifted.hold_id = placed.hold_id AND lifted.event = 'lifted'
    )
