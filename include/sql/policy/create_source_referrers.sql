-- Who keeps a source: every active referrer whose filters name it, itself or through any chain of segments.
-- Grain: one row a referrer, source and filter, with one shortest path; source_id is null where the referrer cannot be
-- read and could name any source. Reads audience_references.
-- Binds: $referrer_kinds, the kinds of referrer that keep a source (R6).
-- Rules: R4, R6. Tag filters are not among the references (R5); the status of a segment inside a chain does not matter.
-- The linter does not know USING KEY.
CREATE TABLE source_referrers AS -- noqa: PRS
WITH RECURSIVE keepers AS (
    SELECT DISTINCT owner_kind, owner_id, filter, kind, id
    FROM audience_references
    WHERE owner_status = 'active' AND list_contains($referrer_kinds, owner_kind)
),

links AS (
    SELECT DISTINCT owner_id AS segment_id, id AS nested_id
    FROM audience_references
    WHERE owner_kind = 'segment' AND kind = 'segment'
),

-- Breadth first, each segment once from each entry: cycles end, and the first way found is a shortest one.
reached (entry_id, segment_id, parent_id, depth) USING KEY (entry_id, segment_id) AS (
    SELECT DISTINCT id, id, CAST(NULL AS VARCHAR), 0 FROM keepers WHERE kind = 'segment'
    UNION
    SELECT reached.entry_id, links.nested_id, min(reached.segment_id), any_value(reached.depth) + 1
    FROM reached
    INNER JOIN links ON links.segment_id = reached.segment_id
    LEFT JOIN recurring.reached AS seen ON seen.entry_id = reached.entry_id AND seen.segment_id = links.nested_id
    WHERE seen.entry_id IS NULL
    GROUP BY reached.entry_id, links.nested_id
),

-- From each entry back down the tree of parents.
trails (entry_id, segment_id, depth, trail) AS (
    SELECT entry_id, segment_id, depth, ' > segment:' || segment_id FROM reached WHERE depth = 0
    UNION ALL
    SELECT reached.entry_id, reached.segment_id, reached.depth, trails.trail || ' > segment:' || reached.segment_id
    FROM trails
    INNER JOIN reached ON reached.entry_id = trails.entry_id AND reached.parent_id = trails.segment_id
),

chains AS (
    SELECT nullif(id, '') AS source_id, owner_kind, owner_id, filter, 0 AS hops, '' AS trail
    FROM keepers
    WHERE kind <> 'segment'
    UNION ALL
    SELECT nullif(named.id, ''), keepers.owner_kind, keepers.owner_id, named.filter, trails.depth + 1, trails.trail
    FROM keepers
    INNER JOIN trails ON trails.entry_id = keepers.id
    INNER JOIN audience_references AS named ON named.owner_id = trails.segment_id
    WHERE keepers.kind = 'segment' AND named.owner_kind = 'segment' AND named.kind <> 'segment'
)

-- The hash only breaks ties, always the same way; comparing the trails themselves takes three times as long.
SELECT
    source_id,
    owner_kind || ':' || owner_id || min_by(trail, hops + hash(trail) / 2.0 ** 65) || ' > ' || filter AS path
FROM chains
GROUP BY source_id, owner_kind, owner_id, filter
