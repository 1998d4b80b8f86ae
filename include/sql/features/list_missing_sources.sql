-- Of some sources, those whose interactions are not all there to be read: expired, or deleted (R14, R18).
-- Grain: one row a source, in order of name. Binds: $source_ids (list of text); null: of all sources.
-- A deleted source that is active again shows what happened since; what was deleted is missing all the same.
SELECT
    source_id,
    coalesce(kind, 'source') AS kind,
    coalesce(name, source_id) AS name,
    state,
    since
FROM source_states
WHERE
    state <> 'available'
    AND ($source_ids::VARCHAR[] IS NULL OR source_id IN (SELECT unnest($source_ids::VARCHAR[])))
ORDER BY name, source_id
