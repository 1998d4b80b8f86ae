-- Purpose: forget a landing file that changed or vanished while it was read.
-- Grain: record. Binds: file_no.
DELETE FROM records
WHERE file_no = $file_no
