-- Some of the sources that lists of what users received leave out (R16); those that left last come first.
-- Grain: one row a source. Binds: $kinds (list of text); $named_ids (list of text): sources to leave aside, for the
-- answer names them anyway; $first: how many to pass over; $most. Reads missing_sources.
SELECT
    source_id,
    kind,
    name,
    state,
    since,
    archived_rows
FROM missing_sources
WHERE
    kind IN (SELECT unnest($kinds::VARCHAR[]))
    AND source_id NOT IN (SELECT unnest($named_ids::VARCHAR[]))
ORDER BY since DESC NULLS LAST, name ASC, source_id ASC
LIMIT $most OFFSET $first
