-- The sources that one expiry run would have moved but for a hold.
-- Grain: one row a source, in order of owner and name. Binds: $run_id, $as_of. Reads expiry_decisions, known_sources.
-- Rules: R19.
SELECT DISTINCT
    decisions.source_id,
    coalesce(known_sources.name, decisions.source_id) AS name,
    coalesce(known_sources.kind, 'source') AS kind,
    known_sources.owner_email,
    decisions.reason
FROM expiry_decisions AS decisions
LEFT JOIN known_sources ON decisions.source_id = known_sources.source_id
WHERE decisions.run_id = $run_id AND decisions.as_of = $as_of AND decisions.decision = 'held'
ORDER BY known_sources.owner_email, name, decisions.source_id
