-- Sample workspace: empty the platform's table source_variants, to write it as of another moment. Runs on SQLite.
DELETE FROM source_variants
