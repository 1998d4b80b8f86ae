-- The sources that the platform has no longer, as they were last known. One that has returned is not among them.
-- Grain: one row a source. Reads sources, vanished_sources.
-- Rules: R2, R3. Such a source is decided about like a stopped one, whose clock starts at vanished_at at the earliest.
-- Of one that vanished before vanished_sources existed, only its id is known.
CREATE VIEW absent_sources AS
WITH missed AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY source_id ORDER BY missed_at DESC, run_id ASC) AS place
    FROM vanished_sources
)

SELECT
    missed.source_id,
    coalesce(missed.kind, 'source') AS kind,
    coalesce(missed.name, missed.source_id) AS name,
    CASE missed.status
        WHEN 'draft' THEN 'draft'
        WHEN 'archived' THEN 'archived'
        ELSE 'stopped'
    END AS status,
    coalesce(missed.created_at, missed.missed_at) AS created_at,
    missed.stopped_at,
    missed.last_sent_at,
    missed.owner_email,
    missed.interaction_data_deleted_at,
    missed.tags,
    missed.missed_at AS vanished_at
FROM missed
WHERE
    missed.place = 1
    AND NOT EXISTS (
        SELECT 1 FROM sources
        WHERE sources.source_id = missed.source_id
    )
