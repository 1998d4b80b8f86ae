-- The sources that an active referrer names, whether they are due or not.
-- Grain: one row a source. Reads source_referrers. Rules: R4, R6.
SELECT DISTINCT source_id
FROM source_referrers
WHERE source_id IS NOT NULL
