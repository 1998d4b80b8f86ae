"""What analysts write, and what it says on every engine: statements that others than DuckDB take otherwise by nature."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

SAID: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "equal rows of a materialized part": (
        "WITH m AS MATERIALIZED (SELECT * FROM (VALUES ('a', 1), ('a', 2), ('b', 3)) AS t(x, y)) "
        "SELECT x FROM m WHERE x = 'a' ORDER BY y",
        [{"x": "a"}, {"x": "a"}],
    ),
    "a count over a materialized part": (
        "WITH m AS MATERIALIZED (SELECT * FROM (VALUES ('a'), ('a'), ('b')) AS t(x)) SELECT count(*) AS n FROM m "
        "WHERE x = 'a'",
        [{"n": 2}],
    ),
    "a union by name of three": (
        "SELECT x, b, c FROM (SELECT 'a' AS x UNION ALL BY NAME SELECT 'b' AS x, 'B' AS b "
        "UNION ALL BY NAME SELECT 'C' AS c, 'c' AS x) ORDER BY x",
        [{"x": "a", "b": None, "c": None}, {"x": "b", "b": "B", "c": None}, {"x": "c", "b": None, "c": "C"}],
    ),
    "a union by name with one by position in it": (
        "SELECT y, x FROM ((SELECT 1 AS x, 2 AS y UNION ALL SELECT 3 AS a, 4 AS b) "
        "UNION ALL BY NAME (SELECT 6 AS y UNION ALL BY NAME SELECT 5 AS x)) ORDER BY x, y",
        [{"y": 2, "x": 1}, {"y": 4, "x": 3}, {"y": None, "x": 5}, {"y": 6, "x": None}],
    ),
    "a part named like the table it reads": (
        "WITH users AS (SELECT * FROM users WHERE user_id = 'all') SELECT users.user_id FROM users",
        [{"user_id": "all"}],
    ),
    "a part named like a table, and the table": (
        "WITH one AS (SELECT user_id FROM users), users AS (SELECT user_id || '!' AS user_id FROM one), "
        "two AS (SELECT user_id FROM (WITH users AS (SELECT 'x' AS user_id) SELECT user_id FROM users) "
        "UNION ALL SELECT user_id FROM users) "
        "SELECT user_id FROM two ORDER BY user_id",
        [{"user_id": "all!"}, {"user_id": "none!"}, {"user_id": "x"}],
    ),
    "a part named like a view": (
        "WITH source_availability AS (SELECT * FROM source_availability WHERE source_id = 's') "
        "SELECT source_id FROM (WITH users AS (SELECT 1 AS one) SELECT source_id FROM source_availability, users)",
        [{"source_id": "s"}],
    ),
}
DIFFERENCES = """SELECT {} FROM (SELECT
    TIMESTAMPTZ '2026-06-01 22:59:59.5+00' AS x, TIMESTAMPTZ '2026-06-01 23:00:00+00' AS y,
    TIMESTAMPTZ '2026-05-25 23:59:00+00' AS z)"""
UNITS = ("microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")
NUMBERS = "(VALUES (2.5), (3.5), (-2.5), (0.5), (-0.4), (NULL)) AS t(x)"
WORDS = "(VALUES ('a', 3), ('b', 1), (NULL, 2), ('c', NULL)) AS t(x, y)"
SAID |= {
    "boundaries that date_diff counts": (
        DIFFERENCES.format(", ".join(f"date_diff('{unit}', x, y) AS {unit}s" for unit in UNITS)),
        [dict(zip([f"{unit}s" for unit in UNITS], [500_000, 500, 1, 1, 1, 0, 0, 0, 0, 0], strict=True))],
    ),
    "boundaries that date_diff counts backwards": (
        DIFFERENCES.format(
            "date_diff('minute', y, z) AS m, date_diff('day', x, z) AS d, date_diff('month', y, z) AS n"
        ),
        [{"m": -10021, "d": -7, "n": -1}],
    ),
    "boundaries between days": (
        "SELECT date_diff('month', DATE '2026-01-31', DATE '2026-02-01') AS m, "
        "date_diff('year', DATE '2025-12-31', DATE '2026-01-01') AS y, "
        "date_diff('quarter', DATE '2026-04-01', DATE '2026-03-31') AS q, "
        "date_diff('week', DATE '2026-01-04', DATE '2026-01-05') AS w, "
        "date_diff('week', DATE '2026-01-15', DATE '2026-01-08') AS v",
        [{"m": 1, "y": 1, "q": -1, "w": 0, "v": -1}],
    ),
    "days of the week": (
        "SELECT dayofweek(d) AS a, weekday(d) AS b, isodow(d) AS c, extract(dow FROM d) AS e, "
        "date_part('isodow', d) AS f, dayname(d) AS n, monthname(d) AS m "
        "FROM (VALUES (DATE '2026-06-06'), (DATE '2026-06-07'), (DATE '2026-06-08')) AS t(d) ORDER BY d",
        [
            {"a": 6, "b": 6, "c": 6, "e": 6, "f": 6, "n": "Saturday", "m": "June"},
            {"a": 0, "b": 0, "c": 7, "e": 0, "f": 7, "n": "Sunday", "m": "June"},
            {"a": 1, "b": 1, "c": 1, "e": 1, "f": 1, "n": "Monday", "m": "June"},
        ],
    ),
    "what clocks show, and when they show it": (
        "SELECT t AT TIME ZONE 'Europe/Berlin' AS shown, "
        "date_trunc('day', t AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS began, "
        "TIMESTAMP '2026-10-25 02:30:00' AT TIME ZONE 'Europe/Berlin' AS twice, "
        "TIMESTAMP '2026-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin' AS never, "
        "(t AT TIME ZONE 'UTC' + to_months(1)) AT TIME ZONE 'UTC' AS later "
        "FROM (SELECT TIMESTAMPTZ '2026-06-07 23:00:00+00' AS t)",
        [
            {
                "shown": datetime(2026, 6, 8, 1),  # noqa: DTZ001 - it has no zone
                "began": datetime(2026, 6, 7, 22, tzinfo=UTC),
                "twice": datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
                "never": datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
                "later": datetime(2026, 7, 7, 23, tzinfo=UTC),
            }
        ],
    ),
    "lists in order, with their nulls": (
        "SELECT list(x ORDER BY y) AS a, list(x ORDER BY y DESC) AS b, array_agg(x ORDER BY y NULLS FIRST) AS c, "
        "list(x ORDER BY y) FILTER (x IS NOT NULL) AS d, list(DISTINCT x ORDER BY x DESC) AS e, "
        f"list(x ORDER BY y) FILTER (y > 9) AS f FROM {WORDS}",
        [
            {
                "a": ["b", None, "a", "c"],
                "b": ["a", None, "b", "c"],
                "c": ["c", "b", None, "a"],
                "d": ["b", "a", "c"],
                "e": ["c", "b", "a", None],
                "f": None,
            }
        ],
    ),
    "halves of decimals": (
        f"SELECT CAST(x AS INTEGER) AS i, TRY_CAST(x AS BIGINT) AS b FROM {NUMBERS} ORDER BY x",
        [{"i": i, "b": i} for i in (-3, 0, 1, 3, 4, None)],
    ),
    "halves of doubles": (
        f"SELECT CAST(x::DOUBLE AS INTEGER) AS i, (x::DOUBLE)::BIGINT AS b FROM {NUMBERS} ORDER BY x",
        [{"i": i, "b": i} for i in (-2, 0, 0, 2, 4, None)],
    ),
    "halves of what is computed": (
        "SELECT CAST(7 / 2 AS INTEGER) AS a, CAST(avg(x) AS INTEGER) AS b, CAST(median(x) AS BIGINT) AS c, "
        "CAST(sum(x) AS INTEGER) AS d FROM (VALUES (2), (3)) AS t(x)",
        [{"a": 4, "b": 2, "c": 2, "d": 5}],
    ),
    "backslashes in patterns": (
        r"SELECT x LIKE 'a\b' AS a, x ILIKE 'A\B' AS b, x NOT LIKE p AS c, 'a%' LIKE 'a\%' AS d, "
        r"'a\%' LIKE 'a\!%' ESCAPE '!' AS e, 'a%' LIKE 'a\%' ESCAPE '\' AS f FROM (VALUES ('a\b', 'a\b')) AS t(x, p)",
        [{"a": True, "b": True, "c": False, "d": False, "e": True, "f": True}],
    ),
    "printf": ("SELECT printf('%d-%s', 3, 'x') AS v", [{"v": "3-x"}]),
}
