-- Which holds keep a source at a moment, and in which words a reason says so.
-- Grain: one row a source and hold. Binds: $as_of. Reads standing_holds, known_source_tags.
-- Rules: R19. A tag holds whatever carries it now. A hold counts once it is recorded, also for a run dated before that.
CREATE TABLE source_holds AS
WITH named AS (
    SELECT
        hold_id,
        source_id
    FROM standing_holds
    WHERE source_id IS NOT NULL
    UNION ALL
    SELECT
        standing_holds.hold_id,
        tags.source_id
    FROM standing_holds
    INNER JOIN known_source_tags AS tags ON standing_holds.tag = tags.tag
)

SELECT
    named.source_id,
    holds.hold_id,
    holds.tag,
    holds.held_by,
    holds.reason,
    holds.held_at,
    holds.until,
    concat(
        'hold ', holds.hold_id, ' of ', holds.held_by, ' on tag ''' || holds.tag || '''', ' keeps it ',
        CASE
            WHEN holds.until IS NULL THEN 'until it is lifted'
            ELSE 'until ' || replace(
                strftime(holds.until AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M UTC'), ' 00:00 UTC', ''
            )
        END,
        ' (', holds.reason, ')'
    ) AS words
FROM named
INNER JOIN standing_holds AS holds ON named.hold_id = holds.hold_id
WHERE holds.until IS NULL OR holds.until > $as_of
