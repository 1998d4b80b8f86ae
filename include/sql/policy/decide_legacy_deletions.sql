-- What the previous policy would have done with each source as of a cutoff, and why (R18).
-- Grain: one row a source, in order of id. Binds: $cutoff, $months.
-- Reads sources, source_states, source_keepers, source_totals, legacy_deletions (source_id, deleted_at).
-- Calendar months in UTC, clamped to the month's end, in that direction only, as in R3, and never from before the
-- creation (R24). The branches are in precedence.
WITH stored AS (
    SELECT
        source_id,
        sum(row_count)::BIGINT AS row_count
    FROM source_totals
    GROUP BY source_id
),

facts AS (
    SELECT
        sources.source_id,
        sources.kind,
        sources.name,
        coalesce(CASE states.state WHEN 'deleted' THEN states.since END, marks.deleted_at) AS deleted_at,
        CASE
            WHEN states.last_sent_at IS NOT NULL
                THEN greatest(states.last_sent_at, states.created_at) AT TIME ZONE 'UTC' + to_months($months::INTEGER)
        END AS ended_at,
        'last sent on ' || strftime(states.last_sent_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS story,
        keepers.referenced_by,
        coalesce(stored.row_count, 0) AS stored_rows
    FROM sources
    INNER JOIN source_states AS states ON sources.source_id = states.source_id
    INNER JOIN source_keepers AS keepers ON sources.source_id = keepers.source_id
    LEFT JOIN legacy_deletions AS marks ON sources.source_id = marks.source_id
    LEFT JOIN stored ON sources.source_id = stored.source_id
)

SELECT
    source_id,
    kind,
    name,
    CASE
        WHEN deleted_at IS NOT NULL THEN 'deleted'
        WHEN ended_at IS NULL THEN 'unsent'
        WHEN ended_at > $cutoff::TIMESTAMPTZ AT TIME ZONE 'UTC' THEN 'recent'
        WHEN len(referenced_by) > 0 THEN 'referenced'
        WHEN stored_rows > 0 THEN 'stored'
        ELSE 'mark'
    END AS decision,
    CASE decision
        WHEN 'deleted' THEN 'already deleted on ' || strftime(deleted_at AT TIME ZONE 'UTC', '%Y-%m-%d')
        WHEN 'unsent' THEN 'never sent anything, so there was nothing to delete'
        ELSE story || ', ' || $months || ' months end on ' || strftime(ended_at, '%Y-%m-%d') || CASE decision
            WHEN 'recent' THEN ', after the cutoff'
            WHEN 'referenced' THEN ', but named by ' || list_aggregate(referenced_by, 'string_agg', ', ')
            WHEN 'stored' THEN ', but the warehouse has ' || stored_rows || ' interactions, which must not be lost'
            ELSE ', and no active campaign, Canvas or Content Card names it'
        END
    END AS reason
FROM facts
ORDER BY source_id
