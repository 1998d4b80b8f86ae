-- Sample workspace: empty the platform's table source_tags, to write it as of another moment. Runs on SQLite.
DELETE FROM source_tags
