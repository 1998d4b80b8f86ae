-- Purpose: add a part of a landing file; fields that it does not have stay null.
-- Grain: record. Binds: file_no. `part` is the part as read.
INSERT INTO records BY NAME
SELECT
    $file_no AS file_no,
    *
FROM part
