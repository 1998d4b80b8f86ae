-- Where the data of what a hold names is.
-- Grain: one row a state. Binds: $source_id, $tag; the other is null. Reads source_availability, known_source_tags.
-- Rules: R19. A hold brings nothing back.
SELECT
    state,
    count(*) AS source_count
FROM source_availability
WHERE
    source_id = $source_id::VARCHAR
    OR source_id IN (
        SELECT known_source_tags.source_id
        FROM known_source_tags
        WHERE known_source_tags.tag = $tag::VARCHAR
    )
GROUP BY state
