"""A person in every place outside the tables: found, removed, not one record of anybody else touched, killed anywhere."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest

from perennial.engines.duckdb import open_connection
from perennial.erase import documents
from perennial.erase.arrivals import bar_arrivals
from perennial.erase.people import People, people_of, rejected_records
from perennial.erase.places import erase_in_files, final, find_in_files, verify_files
from perennial.erasures import open_request, record_event
from perennial.erasures.requests import new_request, read_request
from perennial.operations import OperationStore, pending_records
from perennial.settings import Settings
from perennial.tables import INTERACTIONS, LOADED_FILES
from perennial.warehouse import Warehouse
from tests.currents.landing import OPEN, directory, event, everything, land_avro, land_json, load, rows
from tests.kill import Point, run_and_kill

KEY = "0123456789abcdef0123456789abcdef"
# One id is a part of others, in every way: none of theirs may go.
PERSON, OTHERS = "u1", ("u11", "au1", "u1-2", "x.u1", "U1", "it's")
PEOPLE = People(frozenset({PERSON}), frozenset({"ext 1"}), frozenset({"ann@example.com"}))
CODECS = ("null", "deflate", "bzip2", "xz")


@pytest.fixture
def keyed(local_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Warehouse:
    local_warehouse.settings = replace(local_warehouse.settings, erasure_key=KEY)
    # Scratch files of other processes of this machine are not this test's.
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return local_warehouse


def records(start: int) -> list[dict[str, Any]]:
    people = [PERSON, *OTHERS]
    return [
        event(start + n, id=f"e{start + n}", user_id=people[n % len(people)], external_user_id=f"ext {n % 7 + 1}")
        for n in range(21)
    ]


def broken(people: tuple[str, ...]) -> list[str]:
    """Lines that cannot be read, of some people."""
    return [f'{{"user_id": "{user}", "id": ' for user in people] + [
        json.dumps({**event(900), "user_id": user, "time": "never"}) for user in people
    ]


def land(settings: Settings) -> None:
    for number, codec in enumerate(CODECS):
        land_avro(settings, OPEN, records(100 * number), f"{codec}.avro", codec=codec, block_bytes=300)
    pl.DataFrame(records(500)).write_avro(directory(settings, OPEN) / "snappy.avro", compression="snappy")
    land_avro(settings, OPEN, records(600), "packed.avro.gz")
    lines = [*records(700), *broken((PERSON, *OTHERS)), "no JSON", "", "mail ann@example.com."]
    land_json(settings, OPEN, lines)
    land_json(settings, OPEN, records(800), "packed.json.gz")
    merged = [{"id": f"m{user}", "user_id": user, "orphaned_by_id": PERSON, "time": 1} for user in OTHERS[:2]]
    land_json(settings, "users.UserOrphan", [*merged, {"id": "m", "user_id": "u11", "orphaned_by_id": "u2", "time": 1}])


def scatter(warehouse: Warehouse) -> None:
    """Put the person into everything else that is no table."""
    settings, store = warehouse.settings, OperationStore.of(warehouse)
    for place in ("exports", "exporting/user-data-x.1", "mail"):
        settings.below_home(place).mkdir(parents=True)
    lines = [("user_id", "external_id", "first_name"), (PERSON, "", "Ann"), ("u11", "", 'says "u1",\nthen goes')]
    lines += [("it's", "ext 1", ""), ("'=u1", "ext 2", "u1")]
    for place in ("exports/user-data-a.csv", "exporting/user-data-x.1/user-data.csv"):
        with settings.below_home(place).open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    for number, address in enumerate(("Ann@example.com", "joann@example.com", "ann@example.com.au")):
        mail = EmailMessage()
        mail["To"], mail["Subject"] = address, "Grüße"
        mail.set_content("ü", cte="base64")
        settings.below_home(f"mail/{number}.eml").write_bytes(bytes(mail))
    store.put("errors", {"text": "value 'u1' cannot be used", "details": {}}, "of the person")
    store.put("errors", {"text": "value 'u11' cannot be used", "details": {}}, "of another")
    dead = Path(tempfile.gettempdir(), "perennial-dead")
    dead.mkdir()
    os.utime(dead, (0, 0))
    Path(tempfile.gettempdir(), "perennial-alive").mkdir()


def decoded(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every record and line below the landing place and the exports, read without any of the product's code."""
    for path in [*settings.below_home("landing").rglob("*.*"), *settings.below_home("exports").rglob("*")]:
        if not path.is_file():
            continue
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if ".avro" in path.name:
            is_snappy = path.name == "snappy.avro"
            found = pl.read_avro(io.BytesIO(content)).to_dicts() if is_snappy else fastavro.reader(io.BytesIO(content))
            yield from ((path.name, json.dumps(record)) for record in found)
        elif path.suffix == ".csv":
            yield from ((path.name, json.dumps(row)) for row in csv.reader(content.decode().splitlines(keepends=True)))
        else:
            yield from ((path.name, line) for line in content.decode().splitlines() if line)


def is_theirs(record: str) -> bool:
    """Whether a record is the person's, by eyes that know these records."""
    return any(
        mark in record
        for mark in ('"user_id": "u1"', '"ext 1"', '"orphaned_by_id": "u1"', '["u1", ', "mail ann@example.com")
    )


def test_a_person_goes_from_every_file_and_nobody_else_does(keyed: Warehouse):
    land(keyed.settings)
    load(keyed)
    scatter(keyed)
    before, tables = Counter(decoded(keyed.settings)), everything(keyed)
    assert sum(map(is_theirs, (record for _, record in before.elements()))) == 31
    found = Counter(one.place for one in find_in_files(keyed, PEOPLE))
    assert found == {
        "landing files": 9, "export files": 2, "mails kept by the sample": 1, "documents of operations": 1,
        "scratch files of this machine": 1,
    }  # fmt: skip
    # What dead processes have left may be anybody's.
    others = find_in_files(keyed, People(frozenset({"u3", "1", "e", "user_id"})))
    assert {one.place for one in others} == {"scratch files of this machine"}

    assert erase_in_files(keyed, PEOPLE) == []
    assert verify_files(keyed, PEOPLE) == []
    assert erase_in_files(keyed, PEOPLE) == []
    after = Counter(decoded(keyed.settings))
    assert after == Counter({key: count for key, count in before.items() if not is_theirs(key[1])})
    assert {path.name for path in keyed.settings.below_home("mail").iterdir()} == {"1.eml", "2.eml"}
    assert len(list(OperationStore.of(keyed).documents("errors"))) == 1
    assert not keyed.settings.below_home("exporting/user-data-x.1").exists()
    # The rewritten files are not loaded again, and a file that really changes is.
    assert load(keyed).loads == 0
    assert {name: table for name, table in everything(keyed).items() if name != "loaded_files"} == {
        name: table for name, table in tables.items() if name != "loaded_files"
    }
    with (keyed.settings.below_home("landing") / _json_of(keyed)).open("a") as file:
        file.write(json.dumps(event(999)) + "\n")
    assert load(keyed).interactions == 1


def _json_of(warehouse: Warehouse) -> Path:
    landing = warehouse.settings.below_home("landing")
    return next(landing.rglob("*email.Open/*/part-0.json")).relative_to(landing)


@pytest.mark.long(but="before-replaced-2")
@pytest.mark.parametrize(
    "point",
    [
        Point("after", "commit:announce"),
        Point("before", "perennial.erase.landing:replaced", 2),
        Point("before", "commit:confirm"),
    ],
    ids=str,
)
def test_an_erasure_killed_anywhere_is_repeated_and_no_file_is_loaded_again(keyed: Warehouse, point: Point):
    for number, codec in enumerate(("deflate", "xz")):
        land_avro(keyed.settings, OPEN, records(100 * number), f"{codec}.avro", codec=codec)
    land_json(keyed.settings, OPEN, [*records(700), *broken((PERSON, *OTHERS))])
    load(keyed)
    before, tables = Counter(decoded(keyed.settings)), everything(keyed)
    run_and_kill(keyed.settings, point, erase_in_files, PEOPLE)
    # Whatever state the kill has left, a load adds nothing, and neither does one after the repetition.
    assert load(keyed).interactions == 0
    assert erase_in_files(keyed, PEOPLE) == []
    assert load(keyed).loads == 0
    after = Counter(decoded(keyed.settings))
    assert after == Counter({key: count for key, count in before.items() if not is_theirs(key[1])})
    found = everything(keyed)
    assert {name: found[name] for name in tables if name != "loaded_files"} == {
        name: table for name, table in tables.items() if name != "loaded_files"
    }
    # What was announced is confirmed, so that nothing is taken for loaded for its size alone.
    announced = [row for row in keyed.read(LOADED_FILES.name).to_pylist() if row["load_id"].startswith("erasure:")]
    assert len({row["file_uri"] for row in announced}) == 3
    assert {row["load_id"] for row in announced if row["modified_at"]} == {row["load_id"] for row in announced}


def test_what_is_not_loaded_yet_is_loaded_before_it_is_rewritten(keyed: Warehouse):
    approve(keyed, PERSON)
    land_json(keyed.settings, OPEN, records(0))
    assert erase_in_files(keyed, PEOPLE) == []
    assert verify_files(keyed, PEOPLE) == []
    assert sorted({user for (user,) in rows(keyed, INTERACTIONS.name, "user_id")}) == sorted(OTHERS)
    assert load(keyed).loads == 0


def test_a_file_that_has_nobody_elses_record_is_empty_afterwards(keyed: Warehouse) -> None:
    for name in ("part.json", "part.json.gz", "part.avro"):
        own = [event(number, id=f"{name} {number}", user_id=PERSON) for number in range(3)]
        (land_avro if name.endswith("avro") else land_json)(keyed.settings, OPEN, own, name)
    land_json(keyed.settings, OPEN, records(0), "others.json")
    load(keyed)
    assert erase_in_files(keyed, PEOPLE) == []
    assert verify_files(keyed, PEOPLE) == []
    assert {file for file, _ in decoded(keyed.settings)} == {"others.json"}
    assert load(keyed).loads == 0


def test_files_that_cannot_be_rewritten_are_named(keyed: Warehouse):
    damaged = land_avro(keyed.settings, OPEN, records(0), "cut.avro", block_bytes=300)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    silent = land_json(keyed.settings, OPEN, [event(1, user_id="u2")] * 40, "silent.json.gz")
    silent.write_bytes(silent.read_bytes()[:-20])
    unknown = land_json(keyed.settings, OPEN, ["user u1"], "notes.txt")
    unfinished = land_json(keyed.settings, OPEN, records(50), "new.json.tmp")
    load(keyed)
    contents = {path: path.read_bytes() for path in (damaged, silent, unknown, unfinished)}
    left = erase_in_files(keyed, PEOPLE)
    assert {Path(one.uri.removeprefix("file://")) for one in left} == {damaged, unknown, unfinished}
    verified = verify_files(keyed, PEOPLE)
    assert len(verified) == 4
    (named,) = final(verified)
    assert "silent.json.gz" in named
    assert "damaged gzip file" in named
    assert {path: path.read_bytes() for path in contents} == contents


def approve(warehouse: Warehouse, *user_ids: str) -> None:
    request = new_request(warehouse.settings, user_ids=user_ids)
    open_request(warehouse, request)
    record_event(warehouse, request.request_id, request.hashes(KEY.encode()).values(), "approved")


def test_a_load_under_way_does_not_bring_an_erased_person_back(keyed: Warehouse):
    land_json(keyed.settings, OPEN, records(0))
    overtaken = []

    def erase_meanwhile(_: object) -> None:
        if not overtaken:
            overtaken.append(True)
            approve(keyed, PERSON)
            assert bar_arrivals(keyed) == 0

    outcome = load(keyed, check=erase_meanwhile)
    assert (outcome.loads, outcome.erased) == (1, 3)
    assert PERSON not in {user for (user,) in rows(keyed, INTERACTIONS.name, "user_id")}


@pytest.mark.parametrize(
    ("point", "is_decided"),
    [
        (Point("after", "perennial.currents.load:record_load"), False),
        (Point("after", "commit:load"), True),
    ],
    ids=str,
)
def test_a_load_that_died_is_dropped_or_finished_before_a_person_is_erased(
    keyed: Warehouse, point: Point, is_decided: bool
):
    land_json(keyed.settings, OPEN, records(0))
    run_and_kill(keyed.settings, point, load)
    approve(keyed, PERSON)
    assert bar_arrivals(keyed) == int(is_decided)
    assert list(pending_records(keyed)) == []
    # What was decided is there to be found; what was not is read anew, without the person.
    users = Counter(user for (user,) in rows(keyed, INTERACTIONS.name, "user_id"))
    assert users == (dict.fromkeys((PERSON, *OTHERS), 3) if is_decided else {})
    outcome = load(keyed)
    assert (outcome.interactions, outcome.erased) == ((0, 0) if is_decided else (18, 3))


def test_file_lists_of_dead_loads_go_and_those_of_loads_under_way_stay(
    keyed: Warehouse, monkeypatch: pytest.MonkeyPatch
):
    land_json(keyed.settings, OPEN, [event(n, user_id=user) for n, user in enumerate((PERSON, "u11"))])
    # One died before it was known, the other one is under way.
    run_and_kill(keyed.settings, Point("after", "perennial.currents.commit:write_file_list", 2), load)
    (dead,) = lists(keyed)
    run_and_kill(keyed.settings, Point("before", "perennial.currents.load:commit_load"), load)
    assert len(lists(keyed)) == 2
    assert {one.is_final for one in documents.erase(keyed, PEOPLE)} == {False}
    assert len(lists(keyed)) == 2
    monkeypatch.setattr(documents, "_BEGINNING", timedelta(0))
    documents.erase(keyed, PEOPLE)
    assert [path.name for path in dead.iterdir()] == ["loaded_events.avro"]
    bar_arrivals(keyed)
    assert not documents.locate(keyed, PEOPLE)


def lists(warehouse: Warehouse) -> list[Path]:
    return list(Path(warehouse.operations_uri().removeprefix("file://"), "loads").iterdir())


def test_rejected_records_are_distinguished_by_whom_they_are_about(keyed: Warehouse):
    theirs = [
        *broken((PERSON,)),
        "u1",
        'x "u1" y',
        json.dumps({"user_id": 1, "orphaned_by_id": "u1"}),
        "to ann@example.com.",
    ]
    others = [
        *broken(OTHERS),
        "u11 x.u1 au1 u1-2",
        json.dumps({"user_id": "u11", "email": "ann@example.com"}),
        "",
        "ann@example.com.au",
        '{"id": "e", "campaign_id": "u1"}',
    ]
    with open_connection() as connection:
        connection.execute("CREATE TABLE rejected_events (payload VARCHAR)")
        connection.executemany("INSERT INTO rejected_events VALUES (?)", [[payload] for payload in (*theirs, *others)])
        condition = rejected_records(PEOPLE)(connection)
        found = connection.execute(f"SELECT payload FROM rejected_events WHERE {condition}").fetchall()
    assert Counter(payload for (payload,) in found) == Counter(theirs)


@pytest.mark.parametrize(
    "user_id", [*OTHERS, 'a"b', "naïve ü 好", "with space", "%_\\", "{}", ".*", "1", "user_id", "ends."]
)
def test_any_id_is_found_as_a_whole_and_only_there(user_id: str):
    people, others = People(frozenset({user_id})), {"u1", "u2", *OTHERS} - {user_id}
    quoted = json.dumps(user_id)
    for text in (f'{{"user_id": {quoted}}}', f'{{"id": "e", "user_id": {quoted}, "time": ', f"x {quoted} y"):
        assert people.are_named(text), text
    assert people.are_in(f"for {quoted}, again")
    for other in others:
        # A text that names somebody else is not about them, even where their id stands in it, too.
        assert not people.are_named(json.dumps({"user_id": other, "campaign_id": user_id, "note": user_id}))
        assert not people.are_named(f'{{"user_id": {json.dumps(other)}, "note": {quoted}')
        assert not people.are_in(f"for {other}, again")


def test_what_else_people_are_known_by_is_noted_before_their_row_goes(keyed: Warehouse):
    schema = keyed.arrow_schema("users")
    user = {
        "user_id": "u1",
        "external_user_id": "ext 1",
        "email": "Ann@example.com",
        "phone": "+491",
        "invalid_phone": False,
    }
    table = pa.Table.from_pylist([{**user, "feature_flags": []}], schema=schema)
    keyed.replace_rows("users", pa.RecordBatchReader.from_batches(schema, table.to_batches()), "test:users")
    request = new_request(keyed.settings, request_id="r1", user_ids=("u1",))
    open_request(keyed, request)
    expected = People(frozenset({"u1"}), frozenset({"ext 1"}), frozenset({"ann@example.com", "+491"}))
    assert people_of(keyed, [request]) == expected
    keyed.replace_rows("users", pa.RecordBatchReader.from_batches(schema, []), "test:gone")
    noted = read_request(keyed, "r1")
    assert noted is not None
    assert people_of(keyed, [noted]) == expected
