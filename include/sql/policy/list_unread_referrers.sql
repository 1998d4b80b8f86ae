-- The active referrers that cannot be read and could name any source: they keep all of them.
-- Grain: one row a referrer and what of it cannot be read, as its path. Reads source_referrers. Rules: R4, R6.
SELECT path
FROM source_referrers
WHERE source_id IS NULL
ORDER BY path
