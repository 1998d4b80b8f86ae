"""Who runs SQL over the tables. DuckDB in process is built in."""
