"""A record that cannot be read is kept with its file, line and reason, and the rest of its file loads."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from perennial.currents.avro import read_avro
from perennial.erasures.requests import written_requests
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.currents.landing import OPEN, SCHEMA, TIME, directory, event, land_avro, land_json, load, rows

NUL = "\\u0000"
BROKEN: dict[str, tuple[dict[str, Any] | str | bytes, str]] = {
    "no id": (event(1, id=None), "no id"),
    "an empty id": (event(1, id=""), "no id"),
    "no user": ({"id": "e1", "time": TIME, "campaign_id": "c"}, "no user_id"),
    "an empty user": (event(1, user_id=""), "no user_id"),
    "no time": (event(1, time=None), "no time"),
    "an empty time": (event(1, time=""), "no time"),
    "time in words": (event(1, time="yesterday"), "wrong type: field time is 'yesterday' (str); expected epoch seconds"),
    "time with blanks": (event(1, time=" 1 "), "wrong type: field time is ' 1 ' (str); expected epoch seconds"),
    "time is a flag": (event(1, time=True), "wrong type: field time is True (bool); expected epoch seconds"),
    "milliseconds": (event(1, time=1_769_900_400_000), "time 1769900400000.0 is outside the years 1970 to 9999; expected epoch seconds"),
    "before 1970": (event(1, time=-1), "time -1.0 is outside the years 1970 to 9999; expected epoch seconds"),
    "not a number": ('{"id": "e1", "user_id": "u", "time": NaN}', "time nan is outside the years 1970 to 9999; expected epoch seconds"),
    "infinite": ('{"id": "e1", "user_id": "u", "time": 1e999}', "time inf is outside the years 1970 to 9999; expected epoch seconds"),
    "a number as id": (event(1, id=5), "wrong type: field id is 5 (int); expected text"),
    "an object as user": (event(1, user_id={"a": 1}), "wrong type: field user_id is {'a': 1} (dict); expected text"),
    "a list as campaign": (event(1, campaign_id=["c"]), "wrong type: field campaign_id is ['c'] (list); expected text"),
    "a flag in words": (event(1, machine_open="perhaps"), "wrong type: field machine_open is 'perhaps' (str); expected true or false"),
    "an index with a fraction": (event(1, conversion_behavior_index=0.5), "wrong type: field conversion_behavior_index is 0.5 (float); expected a whole number"),
    "a huge index": (event(1, conversion_behavior_index=1 << 40), "wrong type: field conversion_behavior_index is 1099511627776 (int); expected a whole number"),
    "half a surrogate pair": (r'{"id": "\ud83d", "user_id": "u", "time": 1}', "wrong type: field id is '\\ud83d' (str); expected text"),
    "a list": ("[1, 2]", "wrong type: not an object with fields"),
    "null": ("null", "wrong type: not an object with fields"),
    "half a line": ('{"id": "e1", "user_id"', "not JSON: Expecting ':' delimiter: line 1 column 23 (char 22)"),
    "two on a line": ('{"id": "a"} {"id": "b"}', "not JSON: Extra data: line 1 column 13 (char 12)"),
    "not UTF-8": (b'{"id": "\xff", "user_id": "u", "time": 1}', "not JSON: 'utf-8' codec can't decode byte 0xff in position 8: invalid start byte"),
    "nested too deep": ("[" * 100_000, "not JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
}  # fmt: skip


@pytest.mark.long(but=r"^part-0\.json$")
@pytest.mark.parametrize("name", ["part-0.json", "part-0.json.gz", "part-0.jsonl", "part-0.ndjson.gz"])
def test_each_kind_of_broken_line_is_kept_with_its_line_and_reason(
    settings: Settings, warehouse: Warehouse, name: str
) -> None:
    lines: list[Any] = []
    for number, (line, _) in enumerate(BROKEN.values()):
        lines += [event(100 + number), line]
    path = land_json(settings, OPEN, lines, name)

    outcome = load(warehouse)

    assert (outcome.interactions, outcome.rejected, outcome.read) == (len(BROKEN), len(BROKEN), 2 * len(BROKEN))
    assert rows(warehouse, "rejected_events", "file_uri, line, reason") == [
        (f"file://{path}", 2 * (number + 1), reason) for number, (_, reason) in enumerate(BROKEN.values())
    ]
    payloads = dict(rows(warehouse, "rejected_events", "line, payload"))
    assert json.loads(payloads[2 * (1 + list(BROKEN).index("time in words"))]) == BROKEN["time in words"][0]
    assert payloads[2 * (1 + list(BROKEN).index("half a line"))] == '{"id": "e1", "user_id"'
    assert json.loads(payloads[2])["user_id"] == "u1"
    assert max(map(len, payloads.values())) <= 100_000


def test_a_request_to_erase_an_id_that_cannot_be_one_is_rejected_and_stops_no_load(
    settings: Settings, warehouse: Warehouse
) -> None:
    asked = [{**event(number), "user_id": user} for number, user in enumerate(("a\x00b", "a\nb", "it's fine"))]
    land_json(settings, "users.UserDeleteRequest", asked)
    outcome = load(warehouse)
    assert (outcome.read, outcome.rejected) == (3, 2)
    (written,) = written_requests(warehouse)
    assert written.user_ids == ("it's fine",)


def test_blank_lines_count_as_lines_but_are_no_records(settings: Settings, warehouse: Warehouse) -> None:
    land_json(settings, OPEN, [b"\xef\xbb\xbf" + json.dumps(event(1)).encode(), "", "  \t", event(2), "oops", "\r"])
    outcome = load(warehouse)
    assert (outcome.read, outcome.interactions, outcome.rejected) == (3, 2, 1)
    assert rows(warehouse, "rejected_events", "line") == [(5,)]


@pytest.mark.long(but=r"^empty\.json\.gz$")
@pytest.mark.parametrize("name", ["empty.json", "empty.json.gz", "empty.avro"])
def test_an_empty_file_is_loaded_as_empty_or_rejected_as_a_whole(
    settings: Settings, warehouse: Warehouse, name: str
) -> None:
    (directory(settings, OPEN) / name).touch()
    outcome = load(warehouse)
    rejected = name.endswith(".avro")
    assert (outcome.files, outcome.interactions, outcome.rejected) == (1, 0, int(rejected))
    assert [line for (line,) in rows(warehouse, "rejected_events", "line")] == [0] * rejected
    assert load(warehouse).loads == 0


@pytest.mark.long(but=r"^(part\.csv\.gz|PART)$")
@pytest.mark.parametrize("name", ["part.parquet", "part.csv.gz", "part.json.zst", "PART"])
def test_a_file_of_an_unknown_format_is_listed_once(settings: Settings, warehouse: Warehouse, name: str) -> None:
    path = directory(settings, OPEN) / name
    path.write_bytes(b"PAR1")
    land_json(settings, OPEN, [event(1)])

    outcome = load(warehouse)

    assert (outcome.files, outcome.interactions, outcome.rejected) == (2, 1, 1)
    ((uri, line, reason),) = rows(warehouse, "rejected_events", "file_uri, line, reason")
    assert (uri, line) == (f"file://{path}", 0)
    assert reason.startswith("the ending of the file's name is unknown, so the file is not loaded; use one of ")
    assert load(warehouse).loads == 0


@pytest.mark.parametrize("name", ["_SUCCESS", ".part.avro.crc", "part.avro.tmp", "part.json._COPYING_", "part.json~"])
def test_a_file_that_is_not_finished_is_passed_over(settings: Settings, warehouse: Warehouse, name: str) -> None:
    (directory(settings, OPEN) / name).write_bytes(json.dumps(event(1)).encode())
    assert (load(warehouse).files, rows(warehouse, "rejected_events")) == (0, [])


@pytest.mark.long(but="^empty$")
@pytest.mark.parametrize(("end", "loaded"), [(1.0, 5000), (0.9, None), (0.0, 0)], ids=["whole", "cut off", "empty"])
def test_a_gzipped_avro_file_loads_as_far_as_it_goes(
    settings: Settings, warehouse: Warehouse, end: float, loaded: int | None
) -> None:
    path = land_avro(settings, OPEN, [event(n) for n in range(5000)], "part-0.avro.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * end)])

    outcome = load(warehouse)

    reasons = [reason for (reason,) in rows(warehouse, "rejected_events", "reason")]
    assert (outcome.interactions == loaded) if loaded is not None else (4000 < outcome.interactions < 5000)
    assert any("gzip" in reason for reason in reasons) == (end == 0.9)
    assert len(rows(warehouse, "interactions")) == outcome.interactions


def test_numbers_and_flags_written_as_text_are_read(settings: Settings, warehouse: Warehouse) -> None:
    record = event(
        1,
        time=str(TIME),
        machine_open="TRUE",
        is_suspected_bot_click="true",
        conversion_behavior_index="0",
        in_control_group="",
    )
    land_json(settings, OPEN, [record])
    land_avro(settings, OPEN, [{**record, "id": "e2"}], schema={name: ["null", "string"] for name in SCHEMA})
    assert load(warehouse).interactions == 2
    columns = "event_id, machine_open, is_suspected_bot_click, conversion_index"
    assert {row[1:] for row in rows(warehouse, "interactions", columns)} == {(True, True, 0)}


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.mark.long(but="^(null|bzip2)$")
@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_an_avro_file_cut_off_inside_a_block_loads_what_is_left(
    settings: Settings, warehouse: Warehouse, codec: str
) -> None:
    path = land_avro(settings, OPEN, [event(n) for n in range(1000)], codec=codec, block_bytes=4000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])

    outcome = load(warehouse)

    found = sorted(int(event_id[1:]) for (event_id,) in rows(warehouse, "interactions", "event_id"))
    assert found == list(range(len(found)))
    assert 400 < len(found) < 900
    ((line, reason),) = rows(warehouse, "rejected_events", "line, reason")
    assert (outcome.rejected, line) == (1, len(found) + 1)
    assert reason == f"nothing from record {line} on can be read: the file ends inside a block"


def test_every_possible_cut_of_an_avro_file_keeps_a_prefix_of_its_records(tmp_path: Path) -> None:
    content = _avro_bytes([event(n) for n in range(40)], block_bytes=400, codec="deflate")
    whole = _ids(content)
    for end in range(0, len(content), 7):
        found = _ids(content[:end])
        assert found == whole[: len(found)]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_no_damage_makes_the_reader_fail_or_miscount(codec: str) -> None:
    chance = random.Random(2026)
    plain = _avro_bytes(
        [event(n) for n in range(100)], block_bytes=1000, codec="deflate" if codec == "deflate" else "null"
    )
    whole = _as_snappy(plain) if codec == "snappy" else plain
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 3))):
            position = chance.randrange(len(content))
            damage = chance.choice(("flip", "lose", "insert"))
            if damage == "flip":
                content[position] = chance.randrange(256)
            elif damage == "lose":
                del content[position : position + chance.randrange(1, 50)]
            else:
                content[position:position] = chance.randbytes(20)
        _ids(bytes(content))


def test_a_damaged_block_costs_its_own_records_only(settings: Settings, warehouse: Warehouse) -> None:
    path = land_avro(settings, OPEN, [event(n) for n in range(1000)], block_bytes=4000)
    content = bytearray(path.read_bytes())
    markers = [position for position in range(len(content)) if content[position : position + 16] == content[-16:]]
    middle = (markers[3] + markers[4]) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    outcome = load(warehouse)
    ((line, reason),) = rows(warehouse, "rejected_events", "line, reason")
    assert outcome.rejected == 1
    assert reason.startswith(f"records {line} to ")
    ids = {event_id for (event_id,) in rows(warehouse, "interactions", "event_id")}
    assert {f"e{n}" for n in range(line - 1)} <= ids
    last = int(reason.split()[3])
    assert {f"e{n}" for n in range(last, 1000)} <= ids
    assert len(ids) == 1000 - (last - line + 1)


@pytest.mark.long(but="^(null-sizes|null-bytes lost)$")
@pytest.mark.parametrize("damage", ["marker", "sizes", "bytes lost"])
@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_after_damaged_framing_the_rest_of_the_file_is_one_rejected_record(
    settings: Settings, warehouse: Warehouse, codec: str, damage: str
) -> None:
    path = land_avro(settings, OPEN, [event(n) for n in range(200)], codec=codec, block_bytes=1000)
    content = bytearray(path.read_bytes())
    sync = bytes(content[-16:])
    third = [position for position in range(len(content)) if content[position : position + 16] == sync][3]
    if damage == "marker":
        content[third : third + 16] = b"x" * 16
    elif damage == "sizes":
        content[third + 16 : third + 18] = b"\xff\xff"
    else:
        del content[third - 40 : third - 20]
    path.write_bytes(content)

    outcome = load(warehouse)

    ((line, reason),) = rows(warehouse, "rejected_events", "line, reason")
    assert (outcome.rejected, reason) == (1, f"nothing from record {line} on can be read: damaged block")
    found = sorted(int(event_id[1:]) for (event_id,) in rows(warehouse, "interactions", "event_id"))
    assert found == list(range(line - 1))
    assert 0 < len(found) < 200
    assert load(warehouse).loads == 0


@pytest.mark.parametrize("end", [0.3, 0.9, 1.0], ids=["early", "late", "checksum only"])
def test_a_gzip_file_cut_off_loads_what_is_left(settings: Settings, warehouse: Warehouse, end: float) -> None:
    path = land_json(settings, OPEN, [event(n) for n in range(5000)], "part-0.json.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * end) - 4])
    load(warehouse)
    found = sorted(int(event_id[1:]) for (event_id,) in rows(warehouse, "interactions", "event_id"))
    assert found == list(range(len(found)))
    assert len(found) > 5000 * end * 0.8
    ((line, reason),) = rows(warehouse, "rejected_events", "line, reason")
    assert line == len(found) + 1
    assert reason.startswith("damaged gzip file, nothing after this line can be read")


def test_a_file_that_is_something_else_is_rejected_as_a_whole(settings: Settings, warehouse: Warehouse) -> None:
    (directory(settings, OPEN) / "part.avro").write_bytes(b"PK\x03\x04 a zip, really")
    (directory(settings, OPEN) / "part.json.gz").write_bytes(b'{"id": "not gzipped"}')
    land_json(settings, OPEN, [event(1)], "good.json")
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.rejected) == (1, 2)
    found = rows(warehouse, "rejected_events", "parse_filename(file_uri), line, reason")
    assert [row[:2] for row in found] == [("part.avro", 0), ("part.json.gz", 1)]
    assert "not an Avro file" in found[0][2]
    assert "Not a gzipped file" in found[1][2]


# --- schemas ----------------------------------------------------------------------------------------------------------

ENUM = {"type": "enum", "name": "campaigns", "symbols": ["c1", "c2"]}
SCHEMAS: dict[str, dict[str, Any]] = {
    "as Currents": {"id": "string", "user_id": "string", "time": "int", "campaign_id": ["null", "string"]},
    "unions the other way": {"id": ["string", "null"], "user_id": ["string", "null"], "time": ["long", "null"], "campaign_id": "string"},
    "time as double": {"id": "string", "user_id": "string", "time": "double", "campaign_id": "string"},
    "time in two types": {"id": "string", "user_id": "string", "time": ["null", "int", "double"], "campaign_id": "string"},
    "an enum": {"id": "string", "user_id": "string", "time": "int", "campaign_id": ENUM},
    "bytes": {"id": "bytes", "user_id": "bytes", "time": "int", "campaign_id": ["null", "bytes"]},
    "fields of other kinds": {"id": "string", "user_id": "string", "time": "int", "campaign_id": "string",
        "properties": {"type": "map", "values": "string"}, "tags": {"type": "array", "items": "string"}},
}  # fmt: skip


@pytest.mark.long(but="^(bytes|time as double)$")
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_every_schema_in_use_is_read(settings: Settings, warehouse: Warehouse, schema: dict[str, Any]) -> None:
    as_bytes = schema["id"] == "bytes"
    record: dict[str, Any] = {"id": "e1", "user_id": "u1", "campaign_id": "c1"}
    if as_bytes:
        record = {name: value.encode() for name, value in record.items()}
    extra = {"properties": {"a": "b"}, "tags": ["x"]} if "tags" in schema else {}
    land_avro(settings, OPEN, [{**record, "time": TIME, **extra}], schema=schema)
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.rejected) == (1, 0)
    assert rows(warehouse, "interactions", "event_id, user_id, source_id, epoch(occurred_at)") == [
        ("e1", "u1", "c1", float(TIME))
    ]


def test_a_schema_that_holds_no_usable_event_rejects_each_record(settings: Settings, warehouse: Warehouse) -> None:
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
        "a number as id": ({"id": "long", "user_id": "string", "time": "int"}, {"id": 5, "user_id": "u", "time": TIME}, "field id is 5"),
        "a date as time": ({"id": "string", "user_id": "string", "time": "string"}, {"id": "e", "user_id": "u", "time": "2026-01-31"}, "field time is '2026-01-31'"),
        "bytes that are no text": ({"id": "string", "user_id": "bytes", "time": "int"}, {"id": "e", "user_id": b"\xff", "time": TIME}, r"field user_id is b'\xff'"),
        "no field for the id": ({"user_id": "string", "time": "int"}, {"user_id": "u", "time": TIME}, "no id"),
        "no known field": ({"something": "string"}, {"something": "else"}, "no id"),
    }  # fmt: skip
    for case, (schema, record, _) in cases.items():
        land_avro(settings, OPEN, [record, record], f"{case}.avro", schema=schema)
    assert load(warehouse).rejected == 2 * len(cases)
    found = rows(warehouse, "rejected_events", "parse_filename(file_uri), line, reason")
    assert [row[:2] for row in found] == [(f"{case}.avro", line) for case in sorted(cases) for line in (1, 2)]
    assert not [row for row in found if cases[row[0].removesuffix(".avro")][2] not in row[2]]


def test_snappy_blocks_are_read_by_either_decoder_and_checked(settings: Settings, warehouse: Warehouse) -> None:
    plain = _avro_bytes([event(n) for n in range(50)], block_bytes=1000, codec="null")
    snappy = _as_snappy(plain)
    assert _ids(snappy) == [f"e{n}" for n in range(50)]
    damaged = bytearray(snappy)
    damaged[-60] ^= 0xFF
    parts = list(read_avro(io.BytesIO(bytes(damaged)), True))
    reasons = [row["reason"] for part in parts for row in part.rows.to_pylist() if row.get("reason")]
    assert len(reasons) == 1
    assert "snappy" in reasons[0]


def test_an_unknown_codec_is_named(settings: Settings, warehouse: Warehouse) -> None:
    content = _avro_bytes([event(1)], block_bytes=1000, codec="null").replace(b"\x08null", b"\x08lz77", 1)
    (directory(settings, OPEN) / "part.avro").write_bytes(content)
    assert load(warehouse).rejected == 1
    assert "lz77" in rows(warehouse, "rejected_events", "reason")[0][0]


def _avro_bytes(records: list[dict[str, Any]], block_bytes: int, codec: str) -> bytes:
    fields = [{"name": name, "type": kind} for name, kind in SCHEMA.items()]
    buffer = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "event", "fields": fields})
    fastavro.writer(buffer, schema, records, codec=codec, sync_interval=block_bytes)
    return buffer.getvalue()


def _ids(content: bytes) -> list[str]:
    found: list[str] = []
    for part in read_avro(io.BytesIO(content), True):
        assert part.rows is not None
        assert part.record_count == part.rows.num_rows
        found += [row["id"] for row in part.rows.to_pylist() if row.get("id") is not None]
    return found


def _as_snappy(content: bytes) -> bytes:
    """Rewrite an uncompressed file with snappy blocks, which fastavro itself cannot write here."""
    from perennial.currents.container import Block, framed, read_blocks

    file = io.BytesIO(content)
    fastavro.reader(file)
    end = file.tell()
    sync = content[end - 16 : end]
    parts = [content[:end].replace(b"\x08null", b"\x0csnappy", 1)]
    for block in read_blocks(file, sync):
        packed = pa.Codec("snappy").compress(block.content, asbytes=True)
        packed += zlib.crc32(block.content).to_bytes(4, "big")
        parts.append(framed(Block(block.first, block.count, packed), sync))
    return b"".join(parts)


def test_concatenated_gzip_members_are_one_file(settings: Settings, warehouse: Warehouse) -> None:
    members = [gzip.compress(json.dumps(event(n)).encode() + b"\n") for n in range(3)]
    (directory(settings, OPEN) / "part.json.gz").write_bytes(b"".join(members))
    assert load(warehouse).interactions == 3
