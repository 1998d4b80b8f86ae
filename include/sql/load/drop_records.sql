-- Purpose: free the memory of the records as read, once `events` has what is needed of them.
-- Grain: record.
DROP TABLE records
