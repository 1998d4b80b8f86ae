-- For every tag, which of the 200 sources that its filters look at are expired, or deleted (R14, R16).
-- Grain: one row a tag and source. Reads source_tags, sources, source_states.
-- The same choice as audiences/select_tag_sources, for all tags at once: one by one, thousands of tags take a minute.
WITH ranked AS (
    SELECT
        source_tags.tag,
        sources.source_id,
        row_number() OVER (
            PARTITION BY source_tags.tag
            ORDER BY sources.last_sent_at DESC NULLS LAST, sources.source_id ASC
        ) AS place
    FROM source_tags
    INNER JOIN sources ON source_tags.source_id = sources.source_id
)

SELECT
    ranked.tag,
    ranked.source_id
FROM ranked
INNER JOIN source_states ON ranked.source_id = source_states.source_id
WHERE ranked.place <= 200 AND source_states.state <> 'available'
ORDER BY ranked.tag, ranked.place
