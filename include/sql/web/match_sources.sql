-- The listed sources that a selection means; code adds an order and a page, or counts them.
-- Grain: one row a source. Reads listed_sources.
-- Binds: $q, part of a name or id, any case; $tag; $kind; $status; $state; each empty: all. $restoring, ids of sources
-- that a restore is bringing back; $now and $soon, between which a clock that ends is due soon.
WITH shown AS (
    SELECT
        * REPLACE (
            CASE
                WHEN state = 'expired' AND source_id IN (SELECT unnest($restoring::VARCHAR[])) THEN 'restoring'
                ELSE state
            END AS state,
            -- Of a source of which nothing is hot, nothing expires.
            CASE WHEN state = 'available' AND hot_rows > 0 THEN expires_at END AS expires_at
        ),
        coalesce(state = 'available' AND hot_rows > 0 AND expires_at <= $now, FALSE) AS is_due,
        coalesce(state = 'available' AND hot_rows > 0 AND expires_at <= $soon, FALSE) AS is_due_soon
    FROM listed_sources
)

SELECT
    source_id,
    kind,
    name,
    status,
    state,
    since,
    expires_at,
    is_due,
    last_sent_at,
    hot_rows,
    archived_rows,
    total_bytes,
    tags
FROM shown
WHERE
    ($q = '' OR contains(lower(name), lower($q)) OR contains(lower(source_id), lower($q)))
    AND ($tag = '' OR list_contains(tags, $tag))
    AND ($kind = '' OR kind = $kind)
    AND ($status = '' OR status = $status)
    AND ($state = '' OR state = $state OR ($state = 'due' AND is_due_soon))
