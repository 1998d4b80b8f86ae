-- What a decision is made from, and the words its reason is made of.
-- Grain: one row a source that is known.
-- Reads source_states, source_stories, held_sources, source_keepers, hot_totals (source_id, row_count), locked_sources
-- (source_id), retention.
CREATE VIEW source_facts AS
SELECT
    states.source_id,
    states.kind,
    states.name,
    states.status,
    states.state,
    states.since,
    states.created_at,
    states.stopped_at,
    states.last_sent_at,
    states.last_restored_at,
    states.vanished_at,
    states.clock_started_at,
    states.expires_at,
    stories.since_date,
    stories.expiry_date,
    coalesce(hot_totals.row_count, 0) AS hot_rows,
    locked_sources.source_id IS NOT NULL AS locked,
    held_sources.source_id IS NOT NULL AS held,
    keepers.referenced_by,
    coalesce(held_sources.words, keepers.keeping) AS keeping,
    'the ' || retention.months || if(retention.months = 1, ' month', ' months') AS period,
    stories.story,
    stories.absence
FROM source_states AS states
INNER JOIN source_stories AS stories ON states.source_id = stories.source_id
INNER JOIN source_keepers AS keepers ON states.source_id = keepers.source_id
CROSS JOIN retention
LEFT JOIN held_sources ON states.source_id = held_sources.source_id
LEFT JOIN hot_totals ON states.source_id = hot_totals.source_id
LEFT JOIN locked_sources ON states.source_id = locked_sources.source_id
WHERE states.known
