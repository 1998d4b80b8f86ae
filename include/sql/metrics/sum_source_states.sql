-- How many sources are available and expired, and how many interactions of expired ones are hot: they came late (R9).
-- Grain: one row. Reads source_availability.
SELECT
    count(*) FILTER (state = 'available') AS available_sources,
    count(*) FILTER (state = 'expired') AS expired_sources,
    coalesce(sum(hot_rows) FILTER (state = 'expired'), 0)::BIGINT AS late_rows
FROM source_availability
