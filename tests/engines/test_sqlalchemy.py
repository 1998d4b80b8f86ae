"""Engines behind SQLAlchemy: what the drivers send and return, and how they fail. No Athena and no Trino is run.

SQLite stands for the connection; PyAthena talks to a server that keeps statements and answers what it was told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sqlglot
from sqlalchemy.engine import make_url
from sqlglot import exp

from perennial.engines.sqlalchemy import SqlAlchemyEngine
from perennial.errors import TerminalEngineError, TransientEngineError
from perennial_sample.ports import free_port
from tests.aws import ACCOUNT, KEY, REGION, SECRET, Aws
from tests.engines.test_contract import TEXTS


@pytest.fixture
def sqlite() -> Iterator[SqlAlchemyEngine]:
    engine = SqlAlchemyEngine("sqlite://")
    yield engine
    engine.close()


def athena(endpoint: str, bucket: str) -> SqlAlchemyEngine:
    options = f"s3_staging_dir=s3://{bucket}/results&endpoint_url={quote(endpoint, safe='')}"
    login = f"{quote(KEY, safe='')}:{quote(SECRET, safe='')}"
    return SqlAlchemyEngine(f"awsathena+rest://{login}@athena.{REGION}.amazonaws.com:443/messaging?{options}")


def to_be_answered(aws: Aws, columns: dict[str, str], *rows: tuple[str, ...]) -> None:
    """Let the next statement be answered so."""
    described = [
        {"CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": name, "Label": name, "Type": kind,
         "Precision": 0, "Scale": 0, "Nullable": "UNKNOWN", "CaseSensitive": True}
        for name, kind in columns.items()
    ]  # fmt: skip
    data = [{"Data": [{"VarCharValue": value} for value in row]} for row in (tuple(columns), *rows)]
    results = [{"rows": data, "column_info": described}]
    body = {"account_id": ACCOUNT, "region": REGION, "results": results}
    requests.post(f"{aws.url}/moto-api/static/athena/query-results", json=body, timeout=10).raise_for_status()


def sent(aws: Aws) -> str:
    client = aws.client("athena")
    found = [
        client.get_query_execution(QueryExecutionId=query)["QueryExecution"]
        for query in client.list_query_executions()["QueryExecutionIds"]
    ]
    return str(max(found, key=lambda query: query["Status"]["SubmissionDateTime"])["Query"])


# --- the connection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text in TEXTS if "\0" not in text], ids=ascii)
def test_a_bind_is_a_value_whatever_it_looks_like(sqlite: SqlAlchemyEngine, text: str) -> None:
    sql = "SELECT :text AS text, 'it''s :text %' AS literal, :text = 'other' AS other"
    found = sqlite.query(sql, {"text": text}, 10).read_all().to_pylist()
    assert found == [{"text": text, "literal": "it's :text %", "other": 0}]


def test_rows_come_in_batches_as_they_are_read(sqlite: SqlAlchemyEngine) -> None:
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last) SELECT i, NULL AS empty FROM n"
    )
    found = list(sqlite.query(numbers, {"last": 25}, 10))
    assert [batch.num_rows for batch in found] == [10, 10, 5]
    assert [row["i"] for batch in found for row in batch.to_pylist()] == list(range(1, 26))
    nobody = sqlite.query("SELECT 1 AS one WHERE 0", {}, 10).read_all()
    assert (nobody.num_rows, nobody.schema.names) == (0, ["one"])


# --- Athena's driver ----------------------------------------------------------------------------------------------


def test_athena_is_sent_the_statement_and_its_answer_has_types(aws: Aws) -> None:
    columns = {"user_id": "varchar", "n": "bigint", "flag": "boolean"}
    to_be_answered(aws, columns, ("a'b", "3", "true"), ("c", "4", "false"))
    engine = athena(aws.url, aws.bucket())
    answer = engine.query("SELECT 1 AS one", {}, 1)
    assert [(field.name, str(field.type)) for field in answer.schema] == [
        ("user_id", "string"), ("n", "int64"), ("flag", "bool"),
    ]  # fmt: skip
    assert answer.read_all().to_pylist() == [
        {"user_id": "a'b", "n": 3, "flag": True},
        {"user_id": "c", "n": 4, "flag": False},
    ]
    engine.close()


def test_what_athenas_driver_makes_of_binds_is_the_same_value_again(aws: Aws) -> None:
    to_be_answered(aws, {"one": "bigint"}, ("1",))
    engine = athena(aws.url, aws.bucket())
    places = ", ".join(f":v{number}" for number in range(len(TEXTS)))
    sql = f"SELECT 1 AS one WHERE 'x' IN ({places}) AND ':v1 %' = :v1 AND 1 = :number"
    engine.query(sql, {f"v{number}": text for number, text in enumerate(TEXTS)} | {"number": 7}, 1).read_all()
    engine.close()
    query = sqlglot.parse_one(sent(aws), dialect="athena")
    found = query.find(exp.In)
    assert found is not None
    # In this dialect sqlglot takes a backslash for an escape, which it is in Hive only.
    given = [text for text in TEXTS if "\\" not in text]
    assert [literal.name for literal in found.expressions if "\\" not in literal.name] == given
    assert "':v1 %' = '+33'" in query.sql("athena")


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["trino", "athena"])
def test_a_server_that_is_down_can_be_tried_again_and_no_password_is_shown(engine: str, aws: Aws) -> None:
    port = free_port()
    url = f"trino://someone@127.0.0.1:{port}/lake"
    asked = SqlAlchemyEngine(url) if engine == "trino" else athena(f"http://127.0.0.1:{port}", "none")
    with pytest.raises(TransientEngineError, match="could not be reached") as caught:
        asked.query("SELECT 1 AS one", {}, 1)
    assert SECRET not in str(caught.value)


def refused(said: str) -> Any:
    return SqlAlchemyEngine("trino://someone@127.0.0.1/lake")._error(RuntimeError(said))


@pytest.mark.parametrize(
    "said",
    [
        "SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved",
        "line 1:1: mismatched input 'SELEC'",
        "TABLE_NOT_FOUND: line 1:15: Table 'lake.messaging.users' does not exist",
        "An error occurred (AccessDeniedException) when calling the StartQueryExecution operation",
        "DIVISION_BY_ZERO: Division by zero",
        "NUMERIC_VALUE_OUT_OF_RANGE: Out of range for integer: 9223372036854775807",
        "Invalid credentials",
    ],
)
def test_what_a_person_has_to_change_is_not_tried_again(said: str) -> None:
    assert isinstance(refused(said), TerminalEngineError)


def test_each_has_its_dialect() -> None:
    for url, dialect in (("trino://h/lake", "trino"), ("awsathena+arrow://h/m?s3_staging_dir=s3://b", "athena")):
        assert SqlAlchemyEngine(url).dialect.name == dialect == make_url(url).get_backend_name().removeprefix("aws")
