-- Where the interactions of every source are, when they expire, and who keeps them hot.
-- Grain: one row a source. Reads source_availability, source_keepers, held_sources. Rules: R2, R4, R6, R18, R19.
-- kept_by is of inactive sources alone: an active one has no clock. What a referrer keeps, or a hold without an end,
-- has no date, for it does not expire on it; nor has what has no interactions to move.
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
        WHEN
            sources.state = 'available' AND sources.hot_rows > 0 AND sources.clock_started_at IS NOT NULL
            AND kept.source_id IS NULL AND (held.source_id IS NULL OR held.held_until IS NOT NULL)
            THEN greatest(sources.expires_at, held.held_until)
    END AS expires_at,
    CASE
        WHEN sources.state = 'available' AND sources.clock_started_at IS NOT NULL
            THEN coalesce(
                'hold ' || held.hold_id,
                kept.referrers[1] || CASE
                    WHEN len(kept.referrers) > 1 THEN ' and ' || (len(kept.referrers) - 1) || ' more' ELSE ''
                END
            )
    END AS kept_by,
    sources.hot_rows,
    sources.archived_rows,
    sources.vanished_at,
    sources.clock_started_at
FROM source_availability AS sources
LEFT JOIN kept ON sources.source_id = kept.source_id
LEFT JOIN held_sources AS held ON sources.source_id = held.source_id
