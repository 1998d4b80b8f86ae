-- Purpose: the records of people who were erased, which are not stored (R22).
-- Grain: record; filled by load/insert_erased_records, and from rejected records that name no user by a column.
CREATE TABLE erased_records (
    file_no INTEGER NOT NULL,
    line BIGINT NOT NULL
)
