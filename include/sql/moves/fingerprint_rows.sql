-- Row count and order-free hash of the rows of one view. A sum, so that a doubled row shows; an XOR would cancel it.
-- Grain: one row. Binds: $view, the view's name.
-- M7
SELECT
    count(*) AS row_count,
    coalesce(sum(hash(moved_row)::HUGEINT), 0) AS row_hash
FROM query_table($view) AS moved_row
