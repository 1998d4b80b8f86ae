"""Functions answer the same in every engine, and with the same types."""

from __future__ import annotations

import pyarrow as pa
import pytest

from perennial.engines.dialects import SPARK, TRINO
from perennial.engines.duckdb import open_connection
from perennial.engines.spark import SparkEngine
from perennial.engines.transpile import Relations
from tests.engines.functions import ASKED, EACH, OF_ALL, ROWS, covered, is_covered, kinds, used
from tests.spark import Spark


def test_every_function_of_ours_has_a_case_with_its_types() -> None:
    cases = covered()
    assert not {use: name for use, name in used().items() if not is_covered(use, cases)}


@pytest.mark.parametrize(
    ("sql", "in_spark", "in_trino"),
    [
        ("day + INTERVAL 30 DAYS", "CAST(r.day + INTERVAL '30' DAYS AS TIMESTAMP_NTZ)", "r.day + INTERVAL '30' DAY"),
        ("date_trunc('week', day)", "CAST(DATE_TRUNC('WEEK', r.day) AS TIMESTAMP_NTZ)", "DATE_TRUNC('WEEK', r.day)"),
        ("date_trunc('week', seen)", "DATE_TRUNC('WEEK', r.seen)", "DATE_TRUNC('WEEK', r.seen)"),
        (
            "date_diff('minute', seen, later)",
            "DATEDIFF(MINUTE, DATE_TRUNC('MINUTE', r.seen), DATE_TRUNC('MINUTE', r.later))",
            "DATE_DIFF('MINUTE', DATE_TRUNC('MINUTE', r.seen), DATE_TRUNC('MINUTE', r.later))",
        ),
        ("max_by(text, later)", *["MAX_BY(r.text, r.later) FILTER(WHERE NOT r.text IS NULL)"] * 2),
        (
            "max_by(text, later) FILTER (text IS NOT NULL)",
            *["MAX_BY(r.text, r.later) FILTER(WHERE NOT r.text IS NULL)"] * 2,
        ),
        (
            "max_by(text, later) FILTER (place < 3)",
            *["MAX_BY(r.text, r.later) FILTER(WHERE r.place < 3 AND NOT r.text IS NULL)"] * 2,
        ),
    ],
)
def test_what_answers_otherwise_elsewhere_is_rewritten(sql: str, in_spark: str, in_trino: str) -> None:
    for dialect, expected in ((SPARK, in_spark), (TRINO, in_trino)):
        written = Relations().render(f"SELECT {sql} AS x FROM {ROWS} AS r", {}, dialect).sql
        assert f"SELECT {expected} AS x FROM" in " ".join(written.split()).replace("( ", "(").replace(" )", ")")


@pytest.mark.long
@pytest.mark.parametrize("server", ["spark"])
def test_every_case_answers_on_spark_what_it_answers_in_process(server: str, request: pytest.FixtureRequest) -> None:
    spark: Spark = request.getfixturevalue(server)
    engine = SparkEngine(spark.url)
    for sql, cases in zip(ASKED, (EACH, OF_ALL), strict=True):
        with open_connection() as connection:
            here = connection.sql(sql).to_arrow_table()
        rendered = Relations().render(sql, {}, SPARK)
        there = engine.query(rendered.sql, rendered.binds, 1000).read_all()
        assert by_case(there, cases) == by_case(here, cases)
    engine.close()


def by_case(answer: pa.Table, cases: tuple[str, ...]) -> dict[str, tuple[str, list[object]]]:
    """Type and values of each case, numbers as floating ones."""
    values = {name: [float(v) if name != "place" and kind.endswith("number") and v is not None else v for v in answer[name].to_pylist()] for name, kind in kinds(answer).items()}  # fmt: skip
    return {sql: (kinds(answer)[f"c{number}"], values[f"c{number}"]) for number, sql in enumerate(cases)}
