-- Purpose: leave the records of erased people out of everything that follows (R22).
-- Grain: record.
DELETE FROM events
USING erased_records
WHERE events.file_no = erased_records.file_no AND events.line = erased_records.line
