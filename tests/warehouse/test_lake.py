"""The lake of the tests itself: tables on S3 through a REST catalog."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import requests

from perennial.errors import TransientError
from perennial.tables import SOURCE_TAGS
from perennial.warehouse import Warehouse


def test_a_workspace_on_s3_has_every_table_and_takes_rows(lake_warehouse: Warehouse) -> None:
    rows = [{"source_id": "a/b 'c'", "tag": "été"}]
    lake_warehouse.append_rows(SOURCE_TAGS.name, rows, uuid.uuid4().hex)

    assert not lake_warehouse.missing_tables()
    assert lake_warehouse.read(SOURCE_TAGS.name).to_pylist() == rows
    assert lake_warehouse.table(SOURCE_TAGS.name).location().startswith("s3://lake/")


def test_a_commit_whose_answer_is_lost_is_made_once_by_the_next_attempt(
    lake_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = requests.Session.request

    def lost(session: requests.Session, method: str, url: str, *arguments: Any, **named: Any) -> requests.Response:
        answer = send(session, method, url, *arguments, **named)
        if method != "POST" or "/tables/" not in url:
            return answer
        if breaks_off:
            raise requests.exceptions.ConnectionError("Connection reset by peer")
        answer.status_code, answer._content = 500, b'{"error": {"message": "a bad day", "type": "x", "code": 500}}'
        return answer

    for breaks_off in (False, True):
        row: dict[str, object] = {"source_id": "lost", "tag": str(breaks_off)}
        with monkeypatch.context() as patch:
            patch.setattr(requests.Session, "request", lost)
            with pytest.raises(TransientError, match=r"whether the commit to source_tags was made.*Run it again"):
                lake_warehouse.append_rows(SOURCE_TAGS.name, [row], f"operation:{breaks_off}")
        lake_warehouse.append_rows(SOURCE_TAGS.name, [row], f"operation:{breaks_off}")
        assert lake_warehouse.read(SOURCE_TAGS.name).to_pylist().count(row) == 1
