-- What expires next, and how many sources are due already.
-- Grain: one row; null where nothing is to expire. Reads listed_sources. Rules: R2, R4.
SELECT
    count(*) FILTER (expires_at <= now()) AS due_count,
    min_by(source_id, (expires_at, source_id)) FILTER (expires_at > now()) AS source_id,
    min(expires_at) FILTER (expires_at > now()) AS expires_at
FROM listed_sources
