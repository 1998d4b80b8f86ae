-- The retention period, as a relation, so that views can read the setting.
-- Grain: one row. Binds: $months, PERENNIAL_RETENTION_MONTHS (R2).
CREATE TABLE retention AS
SELECT $months::INTEGER AS months
