"""Engines that run SQL on the tables. DuckDB in process is built in."""
