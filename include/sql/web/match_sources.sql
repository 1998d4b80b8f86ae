-- The listed sources that a selection means, by position, with what they can be sorted by; code adds an order and a
-- page.
-- Grain: one row a source. Reads listed_sources; restoring, positions of sources that a restore is bringing back.
-- Binds: $q, part of a name or id, any case; $tag; $kind; $status; $state; each empty: all. $soon, until when a clock
-- that ends is due soon.
WITH shown AS (
    SELECT
        * REPLACE (
            CASE
                WHEN state = 'expired' AND position IN (SELECT restoring.position FROM restoring) THEN 'restoring'
                ELSE state
            END AS state
        )
    FROM listed_sources
)

SELECT
    position,
    kind,
    status,
    nullif(tags, []) AS tags,
    state,
    CASE state WHEN 'available' THEN expires_at ELSE since END AS state_at,
    last_sent_at,
    hot_rows + archived_rows AS row_count,
    total_bytes
FROM shown
WHERE
    ($q = '' OR contains(searched, lower($q)))
    AND ($tag = '' OR list_contains(tags, $tag))
    AND ($kind = '' OR kind = $kind)
    AND ($status = '' OR status = $status)
    AND ($state = '' OR state = $state OR ($state = 'due' AND expires_at <= $soon))
