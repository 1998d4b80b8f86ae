-- The sources that holds keep: until when, and which hold lasts longest.
-- Grain: one row a source. Reads source_holds. Rules: R19. held_until is null where a hold has no end.
CREATE VIEW held_sources AS
SELECT
    source_id,
    CASE WHEN count(until) = count(*) THEN max(until) END AS held_until,
    first(hold_id ORDER BY until DESC NULLS FIRST, held_at ASC, hold_id ASC) AS hold_id,
    first(words ORDER BY until DESC NULLS FIRST, held_at ASC, hold_id ASC) || CASE count(*)
        WHEN 1 THEN ''
        WHEN 2 THEN ', and so does 1 more hold'
        ELSE ', and so do ' || (count(*) - 1) || ' more holds'
    END AS words
FROM source_holds
GROUP BY source_id
