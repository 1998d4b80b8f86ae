-- Where the interactions of every source are, when they expire, and who keeps them hot.
-- Grain: one row a source. Reads source_availability, source_keepers. Rules: R2, R4, R6, R18.
-- kept_by is of inactive sources alone: an active one has no clock that a referrer could hold up. What is kept has no
-- date, for it does not expire on it; nor has what holds no interactions to move.
CREATE VIEW listed_sources AS
WITH kept AS (
    SELECT
        source_id,
        list_sort(list_distinct([split_part(path, ' > ', 1) FOR path IN referenced_by])) AS referrers
    FROM source_keepers
    WHERE len(referenced_by) > 0
)

SELECT
    sources.source_id,
    sources.kind,
    sources.name,
    CASE WHEN sources.vanished_at IS NULL THEN sources.status ELSE 'no longer in the platform' END AS status,
    sources.state,
    sources.since,
    CASE
        WHEN sources.state = 'available' AND kept.source_id IS NULL AND sources.hot_rows > 0 THEN sources.expires_at
    END AS expires_at,
    CASE
        WHEN sources.state = 'available' AND sources.clock_started_at IS NOT NULL
            THEN kept.referrers[1] || CASE
                WHEN len(kept.referrers) > 1 THEN ' and ' || (len(kept.referrers) - 1) || ' more' ELSE ''
            END
    END AS kept_by,
    sources.hot_rows,
    sources.archived_rows,
    sources.vanished_at,
    sources.clock_started_at
FROM source_availability AS sources
LEFT JOIN kept ON sources.source_id = kept.source_id
