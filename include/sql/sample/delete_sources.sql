-- Sample workspace: empty the platform's table sources, to write it as of another moment. Runs on SQLite.
DELETE FROM sources
