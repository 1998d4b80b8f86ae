-- What a run is about to move, beside what there is and what recent runs moved.
-- Grain: one row. Binds: $as_of, $run_id, the run's own; $due, the ids of the sources that are due.
-- Reads expiry_decisions, lifecycle_events, hot_totals. Rules: R21.
-- A source was foreseen if the last run before this one had it due, or kept by nothing but its clock or a hold, with an
-- end that has come. Whatever else made it due happened since: its metadata changed.
WITH due AS (
    SELECT unnest($due::VARCHAR[]) AS source_id
),

earlier AS (
    SELECT
        run_id,
        max(as_of) AS as_of
    FROM expiry_decisions
    WHERE as_of < $as_of AND run_id <> $run_id
    GROUP BY run_id
    ORDER BY max(as_of) DESC, run_id DESC
    LIMIT 1
),

foreseen AS (
    SELECT DISTINCT decisions.source_id
    FROM expiry_decisions AS decisions
    INNER JOIN earlier ON decisions.run_id = earlier.run_id
    WHERE
        decisions.decision IN ('recent', 'held', 'expire', 'empty')
        AND len(decisions.referenced_by) = 0
        AND decisions.expires_at <= $as_of
),

recent_runs AS (
    SELECT
        run_id,
        sum(row_count) AS row_count
    FROM lifecycle_events
    WHERE event = 'expired' AND run_id <> $run_id AND occurred_at < $as_of
    GROUP BY run_id
    ORDER BY max(occurred_at) DESC, run_id DESC
    LIMIT 30
)

SELECT
    (SELECT count(*) FROM due) AS source_count,
    (
        SELECT coalesce(sum(hot_totals.row_count), 0)::BIGINT
        FROM hot_totals
        INNER JOIN due ON hot_totals.source_id = due.source_id
    ) AS row_count,
    (SELECT coalesce(sum(row_count), 0)::BIGINT FROM hot_totals) AS hot_row_count,
    (SELECT coalesce(max(row_count), 0)::BIGINT FROM recent_runs) AS usual_row_count,
    (SELECT count(*) FROM recent_runs) AS run_count,
    NOT EXISTS (SELECT 1 FROM earlier) AS is_first,
    (
        SELECT list(due.source_id ORDER BY due.source_id)
        FROM due
        ANTI JOIN foreseen ON due.source_id = foreseen.source_id
    ) AS surprises
