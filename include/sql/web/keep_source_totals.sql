-- What each table holds of each source, where every thread of the server sees it; registered, only its maker does.
-- Grain: one row a source and table.
CREATE TABLE main.source_totals AS
SELECT * FROM temp.source_totals
