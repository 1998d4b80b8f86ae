-- A text as a cell that no spreadsheet takes for a formula: the first of - = + @ gets a leading apostrophe.
CREATE TEMP MACRO csv_text(cell) AS
CASE WHEN left(cell, 1) IN ('-', '=', '+', '@') THEN '''' || cell ELSE cell END
