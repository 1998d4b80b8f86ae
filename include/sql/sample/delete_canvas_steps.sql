-- Sample workspace: empty the platform's table canvas_steps, to write it as of another moment. Runs on SQLite.
DELETE FROM canvas_steps
