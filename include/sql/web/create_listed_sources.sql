-- The sources as lists show them, in order of name, so that the list needs no sorting; `position` is
-- their place in it, from 0.
-- Grain: one row a source that is known. Reads kept_sources, held_sources, source_availability, known_source_tags,
-- source_totals, known_sources. The status of a source that the platform has no longer is vanished. Rules: R4, R19.
CREATE TABLE listed_sources AS
WITH tags AS (
    SELECT
        source_id,
        list_sort(list(DISTINCT tag)) AS tags
    FROM known_source_tags
    GROUP BY source_id
),

held AS (
    SELECT
        source_id,
        sum(total_bytes) FILTER (table_name = 'interactions') AS hot_bytes,
        sum(total_bytes) FILTER (table_name = 'interactions_archive') AS archived_bytes
    FROM source_totals
    GROUP BY source_id
)

SELECT
    row_number() OVER (ORDER BY lower(availability.name), availability.source_id) - 1 AS position,
    availability.source_id,
    availability.kind,
    availability.name,
    CASE WHEN availability.vanished_at IS NULL THEN availability.status ELSE 'vanished' END AS status,
    availability.vanished_at,
    availability.state,
    availability.since,
    -- Of a source of which nothing is hot, nothing expires; a hold puts it off until its own end.
    CASE
        WHEN availability.state = 'available' AND availability.hot_rows > 0 AND availability.expires_at IS NOT NULL
            THEN greatest(availability.expires_at, holds.held_until)
    END AS expires_at,
    kept_sources.source_id IS NOT NULL OR (holds.source_id IS NOT NULL AND holds.held_until IS NULL) AS is_kept,
    holds.source_id IS NOT NULL AS is_held,
    known_sources.last_sent_at,
    availability.hot_rows,
    availability.archived_rows,
    coalesce(held.hot_bytes, 0)::BIGINT AS hot_bytes,
    coalesce(held.archived_bytes, 0)::BIGINT AS archived_bytes,
    (coalesce(held.hot_bytes, 0) + coalesce(held.archived_bytes, 0))::BIGINT AS total_bytes,
    coalesce(tags.tags, []) AS tags
FROM source_availability AS availability
LEFT JOIN known_sources ON availability.source_id = known_sources.source_id
LEFT JOIN held_sources AS holds ON availability.source_id = holds.source_id
LEFT JOIN kept_sources ON availability.source_id = kept_sources.source_id
LEFT JOIN tags ON availability.source_id = tags.source_id
LEFT JOIN held ON availability.source_id = held.source_id
ORDER BY position
