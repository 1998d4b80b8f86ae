-- The decision about every source, its reason, and who keeps it.
-- Grain: one row a source that is known. Binds: $as_of, the run's own now. Reads source_facts.
-- Rules: R1, R2, R4, R9, R10, R18, R19, R24, in order of precedence. Hot rows that a restore brings back are not late.
WITH decided AS (
    SELECT
        *,
        CASE
            WHEN state = 'deleted' THEN 'deleted'
            WHEN state = 'expired' AND status = 'active' THEN 'reactivated'
            WHEN state = 'expired' AND hot_rows > 0 AND NOT locked THEN 'late'
            WHEN state = 'expired' THEN 'expired'
            WHEN status = 'active' THEN 'active'
            WHEN locked OR expires_at IS NULL OR expires_at > $as_of THEN 'recent'
            WHEN held THEN 'held'
            WHEN len(referenced_by) > 0 THEN 'referenced'
            WHEN hot_rows = 0 THEN 'empty'
            ELSE 'expire'
        END AS decision
    FROM source_facts
)

SELECT
    source_id,
    decision,
    CASE
        WHEN decision = 'deleted'
            THEN 'The previous policy deleted its interactions on ' || since_date || ': they cannot be restored.'
        WHEN decision = 'reactivated'
            THEN 'Active again after its interactions expired on ' || since_date || ': they are brought back.'
        WHEN decision = 'active' THEN 'Active: its interactions are always available.'
        WHEN locked AND decision IN ('expired', 'recent')
            THEN 'A restore is bringing its interactions back: nothing is moved away.'
        WHEN decision = 'late'
            THEN 'Expired on ' || since_date || ': ' || hot_rows || ' interactions still hot follow into the archive.'
        WHEN decision = 'expired'
            THEN 'Expired on ' || since_date || ': its interactions are in long-term storage until restored.'
        WHEN expires_at IS NULL THEN 'All of its times are before 2000, which cannot be right: nothing is moved away.'
        ELSE upper(story[1]) || story[2:] || ': ' || period || CASE decision
            WHEN 'recent' THEN ' end on ' || expiry_date || '.'
            WHEN 'empty' THEN ' ended on ' || expiry_date || '; it has no interactions to move.'
            WHEN 'expire' THEN ' ended on ' || expiry_date || ' and no active referrer names it.'
            ELSE ' ended on ' || expiry_date || ', but ' || keeping || '.'
        END
    END || if(decision IN ('deleted', 'late', 'expired') OR locked, absence, '') AS reason,
    clock_started_at,
    expires_at,
    referenced_by,
    kind,
    name,
    status,
    state,
    since,
    created_at,
    stopped_at,
    last_sent_at,
    last_restored_at,
    vanished_at,
    hot_rows
FROM decided
ORDER BY source_id
