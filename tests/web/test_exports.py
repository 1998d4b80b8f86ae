"""The users export over HTTP: the functions' own answers, who may ask, what is logged, and streams that end early."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from perennial.exports.models import completeness_object, parse_request, parse_segment_request
from perennial.exports.users import export_users, open_segment_export
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.exports.received_world import HOSTILE, NOW, PEOPLE, SEGMENTS
from tests.web.conftest import As
from tests.workspace import Workspace

IDS, SEGMENT = "/perennial/users/export/ids", "/perennial/users/export/segment"


@pytest.fixture
def settings(expired: Warehouse) -> Settings:
    return expired.settings


# --- by ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.long(but="^(hostile|external ids|one without a list)$")
@pytest.mark.parametrize(
    "asked",
    [
        {"braze_id": PEOPLE},
        {"braze_id": "ann"},
        {"external_ids": ["customer-2", "nobody's", HOSTILE], "fields_to_export": ["braze_id", "canvases_received"]},
        {"external_ids": ["customer-1"], "fields_to_export": ["email", "purchases"]},
        {"braze_id": ["<script>alert(1)</script>", "x" * 10_000, "nul\0", "🌻" * 500]},
    ],
    ids=["everybody", "one without a list", "external ids", "no list", "hostile"],
)
def test_the_answer_by_ids_is_that_of_the_function(page: As, expired: Warehouse, asked: dict[str, Any]) -> None:
    answer = page("uma").post(IDS, json=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == json.loads(export_users(expired, parse_request(asked)).to_json())


def test_r16_expired_and_deleted_sources_are_named(page: As) -> None:
    completeness = page("ann").post(IDS, json={"braze_id": "ann"}).json()["completeness"]
    missing = [(source["source_id"], source["state"]) for source in completeness["missing"]]
    assert sorted(missing) == [("deleted", "deleted"), ("old", "expired"), ("old journey", "expired")]
    assert "perennial restore old 'old journey' --notify" in completeness["restore_command"]


@pytest.mark.parametrize(
    ("address", "asked"), [(IDS, {"braze_id": "ann"}), (SEGMENT, {"segment_id": "not-old"})], ids=["ids", "segment"]
)
def test_strict_refuses_a_short_answer_and_says_what_is_missing(
    page: As, expired: Warehouse, address: str, asked: dict[str, Any]
) -> None:
    answer = page("uma").post(f"{address}?strict=true", json=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    problem = answer.json()
    assert problem["detail"].startswith("The answer would not be complete. Left out: 5 expired interactions of ")
    if address == IDS:
        whole = export_users(expired, parse_request(asked)).to_json()
        assert problem["completeness"] == json.loads(whole)["completeness"] | {
            "missing_next": None,
            "missing": [as_json(source) for source in missing_of(expired)],
        }


def missing_of(warehouse: Warehouse) -> list[Any]:
    completeness = export_users(warehouse, parse_request({"braze_id": "ann"})).completeness
    assert completeness is not None
    return list(completeness_object(completeness).missing)


def as_json(source: Any) -> Any:
    return source.model_dump(mode="json")


def test_strict_is_no_obstacle_where_nothing_is_left_out(page: As) -> None:
    asked = {"braze_id": "ann", "fields_to_export": ["email"]}
    assert page("uma").post(f"{IDS}?strict=true", json=asked).json()["users"] == [{"email": "ann@example.com"}]


# --- by segment -------------------------------------------------------------------------------------------------------


@pytest.mark.long(but="^(everybody|old|nobody)$")
@pytest.mark.parametrize("segment_id", SEGMENTS)
def test_a_stream_is_the_users_of_the_segment_line_by_line(page: As, expired: Warehouse, segment_id: str) -> None:
    asked = {"segment_id": segment_id}
    answer = page("uma").post(SEGMENT, json=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    with open_segment_export(expired, parse_segment_request(asked), NOW) as export:
        assert answer.text == "".join(f"{user.to_json()}\n" for user in export.users())
        missing = completeness_object(export.completeness).missing
    assert json.loads(answer.headers["perennial-missing"]) == [as_json(source) for source in missing]
    headers = {
        name: answer.headers[f"perennial-{name}"] for name in ("complete", "missing-count", "unavailable-fields")
    }
    complete = json.dumps(segment_id == "nobody")
    assert headers == {"complete": complete, "missing-count": str(len(missing)), "unavailable-fields": "[]"}


def test_a_stream_that_leaves_nothing_out_says_so(page: As) -> None:
    asked = {"segment_id": "everybody", "fields_to_export": ["braze_id", "gender"]}
    answer = page("uma").post(f"{SEGMENT}?strict=true", json=asked)
    assert [json.loads(line) for line in answer.text.splitlines()] == [{"braze_id": name} for name in sorted(PEOPLE)]
    headers = {name: value for name, value in answer.headers.items() if name.startswith("perennial-")}
    assert headers == {
        "perennial-complete": "true",
        "perennial-missing-count": "0",
        "perennial-missing": "[]",
        "perennial-unavailable-fields": '["gender"]',
    }


def test_a_segment_that_does_not_exist_is_refused_before_the_stream(page: As) -> None:
    answer = page("uma").post(SEGMENT, json={"segment_id": "<b>lost</b>"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    said = "Segment '<b>lost</b>' cannot be exported. $.segment_id: '<b>lost</b>' is not a known segment; name one that exists"
    assert answer.json()["detail"].startswith(said)


# --- who, and what is logged ------------------------------------------------------------------------------------------

ASKED = ((IDS, {"external_ids": ["customer-1"], "braze_id": ["bob"]}), (SEGMENT, {"segment_id": "everybody"}))


@pytest.fixture
def logged() -> Callable[[], list[tuple[Any, ...]]]:
    """Return a function that gives what was written into Airflow's audit log since the test began."""
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        last = session.scalar(select(func.max(Log.id))) or 0

    def since() -> list[tuple[Any, ...]]:
        columns = (Log.event, Log.owner, Log.dag_id, Log.extra)
        with create_session() as session:
            rows = session.execute(select(*columns).where(Log.id > last).order_by(Log.id)).all()
        return [(*row[:3], json.loads(row[3])) for row in rows]

    return since


@pytest.mark.long(but="^ann$")
@pytest.mark.parametrize("name", ["ann", "oli", "uma"])
def test_who_exports_whom_is_written_into_the_audit_log(page: As, logged: Any, name: str) -> None:
    for address, asked in ASKED:
        assert page(name).post(address, json=asked).status_code == 200
    assert page(name).post(f"{IDS}?strict=true", json={"braze_id": HOSTILE}).status_code == 409
    assert logged() == [
        ("export_users_by_id", name, "export_user_data", {**ASKED[0][1], "strict": False}),
        ("export_users_by_segment", name, "export_user_data", {**ASKED[1][1], "strict": False}),
        ("export_users_by_id", name, "export_user_data", {"braze_id": [HOSTILE], "strict": True}),
    ]


@pytest.mark.parametrize(("address", "asked"), ASKED, ids=["ids", "segment"])
def test_viewers_and_strangers_get_nothing(
    page: As, server: TestClient, logged: Any, address: str, asked: dict[str, Any]
) -> None:
    answers = [server.post(address, json=asked), page("vic").post(address, json=asked)]
    assert [answer.status_code for answer in answers] == [401, 403]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert not any("ann@example.com" in answer.text for answer in answers)
    assert logged() == []


# --- what cannot be asked ---------------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("address", "body", "status", "said"),
    [
        (IDS, {"braze_id": ["u"] * 51}, 400, "external_ids and braze_id have 51 ids; give 1 to 50 of them together."),
        (IDS, {}, 400, "external_ids and braze_id have 0 ids; give 1 to 50"),
        (IDS, {"braze_id": [1]}, 400, "braze_id[0] is 1; give a string"),
        (IDS, {"external_ids": "ann"}, 400, 'external_ids is "ann"; give a list'),
        (IDS, {"email_address": "a@b.c"}, 400, 'email_address is "a@b.c"; the request takes '),
        (IDS, {"braze_id": "ann", "fields_to_export": ["<b>"]}, 400, 'fields_to_export[0] is "<b>"; use fields of'),
        (IDS, '{"braze_id": "\\ud800"}', 400, "braze_id"),
        (IDS, '{"braze_id": "ann", "\\ud800": 1}', 400, 'It is "\\ud800"; give a string'),
        (IDS, '{"braze_id": NaN}', 400, "braze_id is NaN; give a list"),
        (IDS, "[]", 422, "body: Input should be a valid dictionary"),
        (IDS, '{"braze_id": ["ann"', 422, "JSON decode error"),
        (IDS, "", 422, "body: Field required"),
        (IDS, b"\xff\xfe{}", 422, "JSON decode error"),
        (IDS, "[" * 60_000, 400, "There was an error parsing the body"),
        (IDS, json.dumps({"braze_id": "x" * 2**16}), 413, "an export takes at most 65,536"),
        (IDS, "x" * (8 * 2**20 + 1), 413, "send at most 8,388,608"),
        (SEGMENT, {"segment_id": 7}, 400, "segment_id is 7; give a string"),
        (SEGMENT, {"segment_id": ""}, 400, 'segment_id is ""; give a string'),
        (SEGMENT, {}, 400, "segment_id is missing; the request takes "),
        (SEGMENT, {"segment_id": "a", "callback_endpoint": "http://x"}, 400, "the request takes "),
    ],
    ids=range(20),
)
def test_what_cannot_be_asked_is_a_problem_with_its_remedy(
    page: As, logged: Any, address: str, body: Any, status: int, said: str
) -> None:
    content = json.dumps(body) if isinstance(body, dict) else body
    answer = page("uma").post(address, content=content, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]
    assert logged() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_of_another_type_is_refused(page: As, kind: str) -> None:
    answer = page("uma").post(IDS, content='{"braze_id": "ann"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_a_body_without_its_length_is_refused(page: As) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"braze_id": "ann"}'

    answer = page("uma").post(IDS, content=chunks(), headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (411, "application/problem+json")


def test_a_word_that_is_not_yes_or_no_is_refused(page: As) -> None:
    answer = page("uma").post(f"{IDS}?strict=perhaps", json={"braze_id": "ann"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.strict")


# --- streams ----------------------------------------------------------------------------------------------------------

Message = dict[str, Any]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A segment that makes many chunks, and more expired sources than a header holds."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for number in range(100):
        workspace.source(f"🌻{number}", interaction_data_deleted_at=NOW)
    workspace.audience("segment:everybody", {"and": []})
    workspace.sync()
    base = {"invalid_phone": False, "feature_flags": [], "custom_attributes": json.dumps({"long": "x" * 1_000})}
    workspace.replace("users", [{**base, "user_id": f"u{number:04}"} for number in range(2_000)])
    return warehouse


class TestStream:
    @pytest.fixture
    def settings(self, large: Warehouse) -> Settings:
        return large.settings

    @pytest.fixture(autouse=True)
    def spill(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where an open export has a folder."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        return tmp_path

    def test_it_comes_in_pieces(self, page: As) -> None:
        chunks: list[bytes] = []

        async def keep(message: Message) -> None:
            chunks.append(message.get("body", b""))

        page("uma").portal.call(stream, page("uma"), keep)  # type: ignore[union-attr]
        pieces = [chunk for chunk in chunks if chunk]
        assert len(pieces) > 20
        lines = b"".join(pieces).splitlines()
        assert [json.loads(line)["braze_id"] for line in lines] == [f"u{number:04}" for number in range(2_000)]

    def test_who_goes_away_after_the_first_piece_ends_it_and_leaves_nothing_behind(self, page: As, spill: Path) -> None:
        seen: list[Message] = []

        async def go_away(message: Message) -> None:
            seen.append(message)
            if message["type"] == "http.response.body":
                assert len(list(spill.iterdir())) == 1
                raise OSError("the client has gone")

        for _ in range(3):
            with pytest.raises(OSError, match="the client has gone"):
                page("uma").portal.call(stream, page("uma"), go_away)  # type: ignore[union-attr]
            assert list(spill.iterdir()) == []
        assert len([message for message in seen if message["type"] == "http.response.body"]) == 3

    def test_a_server_that_reports_it_instead_ends_it_too(self, page: As, spill: Path) -> None:
        pieces: list[bytes] = []
        gone: list[bool] = []

        async def hold(message: Message) -> None:
            if message.get("body"):
                pieces.append(message["body"])
                gone.append(True)
                await anyio.sleep(0.05)

        page("uma").portal.call(stream, page("uma"), hold, gone)  # type: ignore[union-attr]
        assert 1 <= len(pieces) < 10
        assert list(spill.iterdir()) == []

    def test_a_third_at_a_time_is_asked_to_come_back(self, page: As) -> None:
        answers: list[int] = []
        client = page("uma")

        async def three() -> None:
            begun, done = anyio.Semaphore(0), anyio.Event()

            async def wait(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answers.append(message["status"])
                    begun.release()
                    if message["status"] == 200:
                        await done.wait()

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(stream, client, wait)
                    await begun.acquire()
                done.set()

        client.portal.call(three)  # type: ignore[union-attr]
        assert answers == [200, 200, 503]

    def test_headers_hold_as_many_missing_sources_as_fit_and_count_all(self, page: As) -> None:
        answer = page("uma").post(SEGMENT, json={"segment_id": "everybody"})
        assert answer.headers["perennial-missing-count"] == "100"
        assert len(answer.headers["perennial-missing"]) <= 2_000
        named = json.loads(answer.headers["perennial-missing"])
        assert {source["source_id"] for source in named} < {f"🌻{number}" for number in range(100)}
        assert len(named) > 5


async def stream(
    client: TestClient, send: Callable[[Message], Awaitable[None]], gone: list[bool] | None = None
) -> None:
    """Ask for everybody, with a server's own send; the client is there until something is in `gone`."""
    body = b'{"segment_id": "everybody"}'
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        while not gone:
            await anyio.sleep(0.01)
        return {"type": "http.disconnect"}

    headers = {
        "authorization": client.headers["Authorization"],
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3" if gone is not None else "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": SEGMENT,
        "raw_path": SEGMENT.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": dict(client.app_state),
    }
    await client.app(scope, receive, send)  # type: ignore[arg-type]
