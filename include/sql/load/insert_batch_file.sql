-- Purpose: add a landing file that has been read to the load.
-- Grain: landing file. Binds: one for each column.
INSERT INTO batch_files
VALUES ($file_no, $file_uri, $file_bytes, $modified_at, $event_type, $known_before, $record_count, $counted_count)
