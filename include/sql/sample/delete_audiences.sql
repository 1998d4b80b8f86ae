-- Sample workspace: empty the platform's table audiences, to write it as of another moment. Runs on SQLite.
DELETE FROM audiences
