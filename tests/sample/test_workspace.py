"""The sample workspace: its story makes every decision, its files load to exactly what they say, twice over."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from perennial.audiences.definitions import KnownIds, unknown_ids
from perennial.audiences.parse import parse
from perennial.currents import load_interactions
from perennial.currents.avro import read_avro
from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.moves.inline import expire_sources, restore_sources
from perennial.operations import Run
from perennial.platform import read_metadata, sync_sources
from perennial.policy.decisions import Rules, WarehouseState, decide, decide_from
from perennial.settings import Settings
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import Warehouse
from perennial_sample.catalog import FIRST_RUN_DAYS, RESTORED_SOURCES, RESTORED_TAG, SOURCES
from perennial_sample.events import EVENT_TYPES, generate_events
from perennial_sample.metadata import create_platform, write_metadata
from perennial_sample.retargeting import AUDIENCES
from perennial_sample.story import read
from perennial_sample.workspace import Workspace, advance_workspace, create_workspace

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
ALL_DECISIONS = {"deleted", "reactivated", "late", "expired", "active", "recent", "referenced", "empty", "expire"}


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    return create_workspace(settings, 2_000, now=NOW)


def decisions(warehouse: Warehouse, as_of: datetime) -> dict[str, str]:
    rows = decide(warehouse, as_of)
    return dict(zip(rows["source_id"].to_pylist(), rows["decision"].to_pylist(), strict=True))


def event_ids(warehouse: Warehouse) -> tuple[Counter[str], Counter[str]]:
    """Return the events in hot and in the archive."""
    hot, archive = (warehouse.read(name)["event_id"].to_pylist() for name in ("interactions", "interactions_archive"))
    return Counter(hot), Counter(archive)


def sources_in(warehouse: Warehouse, table: str) -> set[str]:
    return set(warehouse.source_totals(table))


def test_the_whole_story_runs_and_makes_every_decision(
    workspace: Workspace, warehouse: Warehouse, settings: Settings
) -> None:
    first, second = workspace.first, workspace.second
    sync_sources(warehouse, "sync-1")
    loaded = load_interactions(warehouse, first.as_of)

    assert (loaded.files, loaded.read, loaded.waiting) == (len(first.files), first.record_count, 0)
    assert (loaded.interactions, loaded.rejected) == (first.interaction_count, first.broken_count)
    assert decisions(warehouse, first.as_of) == first.decisions

    before, _ = event_ids(warehouse)
    expire_sources(warehouse, Run("expire-1", first.as_of))
    hot, archive = event_ids(warehouse)
    assert hot + archive == before
    assert sources_in(warehouse, "interactions_archive") == {
        source_id for source_id, decision in first.decisions.items() if decision == "expire"
    }

    # As `perennial demo` shows it.
    ((hot_rows, archived_rows, visible_rows),) = read(settings, "sample/count_rows", {})[1]
    assert (hot_rows, archived_rows) == (hot.total(), archive.total())
    assert 0 < visible_rows <= hot_rows
    assert read(settings, "sample/list_decisions", {"as_of": first.as_of})[1]

    advance_workspace(workspace)
    sync_sources(warehouse, "sync-2")
    loaded = load_interactions(warehouse, second.as_of)

    assert (loaded.files, loaded.read, loaded.waiting) == (len(second.files), second.record_count, 0)
    assert (loaded.interactions, loaded.rejected) == (second.interaction_count, second.broken_count)
    assert decisions(warehouse, second.as_of) == second.decisions
    assert set(first.decisions.values()) | set(second.decisions.values()) == ALL_DECISIONS

    before = sum(event_ids(warehouse), Counter[str]())
    assert set(before.values()) == {1}
    expire_sources(warehouse, Run("expire-2", second.as_of))
    for restore in workspace.restores:
        params = {
            "source_ids": list(restore.source_ids), "tags": list(restore.tags),
            "notify": list(restore.notify), "reason": restore.reason,
        }  # fmt: skip
        report = restore_sources(warehouse, params, Run(f"restore-{restore.tags}", second.as_of))
        assert {outcome.outcome for outcome in report.sources} == {"restored"}

    assert sum(event_ids(warehouse), Counter[str]()) == before
    assert {*RESTORED_SOURCES} <= sources_in(warehouse, "interactions")
    tagged = {source.source_id for source in SOURCES if RESTORED_TAG in source.tags}
    assert tagged <= sources_in(warehouse, "interactions")
    assert len(tagged) > 3


def test_a_seed_makes_the_same_workspace_again(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        settings = Settings.from_environment({"PERENNIAL_HOME": str(tmp_path / name)})
        workspace = create_workspace(settings, 1_000, now=NOW, seed=5)
        files = {
            str(path.relative_to(settings.home)): rows(path)
            for path in (*workspace.first.files, *workspace.second.files)
        }
        with sqlite3.connect(workspace.platform) as connection:
            made.append((files, list(connection.iterdump())))
        connection.close()
    other = create_workspace(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path / "3")}), 1_000, now=NOW, seed=6)

    assert made[0] == made[1]
    assert [rows(path) for path in other.first.files] != [
        content for name, content in made[0][0].items() if name.startswith("landing")
    ]


def rows(path: Path) -> list[str]:
    """Return the records of a Currents file, the broken ones as they are."""
    if path.suffix == ".avro":
        import fastavro

        with path.open("rb") as file:
            return [json.dumps(record, sort_keys=True) for record in fastavro.reader(file)]
    import gzip

    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()


def test_files_are_in_both_formats_and_some_are_packed(workspace: Workspace) -> None:
    suffixes = Counter("".join(path.suffixes) for path in workspace.first.files)

    assert set(suffixes) == {".avro", ".json", ".json.gz"}
    assert sum(len(rows(path)) for path in workspace.first.files) == workspace.first.record_count


def test_files_are_as_old_as_their_path_says_and_never_younger_than_their_chapter(workspace: Workspace) -> None:
    for chapter in (workspace.first, workspace.second):
        for path in chapter.files:
            arrived = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            assert arrived <= chapter.as_of
            assert f"date={arrived:%Y-%m-%d-%H}" in path.parts
    start_of_second = min(path.stat().st_mtime for path in workspace.second.files)
    assert start_of_second >= workspace.first.as_of.timestamp()


def test_avro_files_are_read_without_a_record_by_record_detour(workspace: Workspace) -> None:
    """The loader's quick path takes plain types only; a sample that missed it would show a slow product."""
    path = next(path for path in workspace.first.files if path.suffix == ".avro")
    with path.open("rb") as file:
        records = list(read_avro(file, decode=True))

    assert sum(part.rows.num_rows if hasattr(part, "rows") else len(part) for part in records) == len(rows(path))


@pytest.mark.parametrize("chapter", ["first", "second"])
def test_audiences_are_valid_and_name_only_what_the_platform_has(workspace: Workspace, chapter: str) -> None:
    if chapter == "second":
        advance_workspace(workspace)
    with sqlite3.connect(workspace.platform) as connection:
        known = KnownIds(
            sources=set(connection.execute("SELECT kind, source_id FROM sources")),
            steps=set(connection.execute("SELECT source_id, step_id FROM canvas_steps")),
            variants=set(connection.execute("SELECT source_id, variant_id FROM source_variants")),
            segments={audience.owner_id for audience in AUDIENCES if audience.owner_kind == "segment"},
        )
        definitions = [text for (text,) in connection.execute("SELECT definition FROM audiences")]
    connection.close()

    assert len(definitions) == len(AUDIENCES)
    assert [problem for text in definitions for problem in unknown_ids(parse(text), known)] == []


# --- the story holds on any day -----------------------------------------------------------------------------------


def story(path: Path, settings: Settings, now: datetime, chapter: str) -> dict[str, str]:
    """Decide from a story's metadata alone, as if everything had been loaded and the first expiry had run."""
    first_at = now - timedelta(days=FIRST_RUN_DAYS)
    at = first_at if chapter == "first" else now
    write_metadata(path, now, at)
    metadata = read_metadata(replace(settings, platform_url=f"sqlite:///{path}"))
    assert metadata is not None
    expired = [source.source_id for source in SOURCES if source.story.first == "expire"] if chapter == "second" else []
    late = [source.source_id for source in SOURCES if source.story.second in ("late", "reactivated")]
    hot = [source.source_id for source in SOURCES if source.story.sends and source.source_id not in expired]
    state = WarehouseState(
        lifecycle_events=pa.Table.from_pylist(
            [{"event": "expired", "source_id": source_id, "occurred_at": first_at} for source_id in expired],
            schema=lifecycle_schema(),
        ),
        hot_rows=dict.fromkeys([*hot, *(late if expired else [])], 10),
    )
    decided = decide_from(metadata, state, at, Rules()).rows
    return dict(zip(decided["source_id"].to_pylist(), decided["decision"].to_pylist(), strict=True))


def lifecycle_schema() -> pa.Schema:
    types = {"string": pa.string(), "long": pa.int64(), "timestamptz": pa.timestamp("us", tz="UTC")}
    return pa.schema([pa.field(column.name, types[column.type]) for column in LIFECYCLE_EVENTS.columns])


@pytest.mark.long(but="2026-0[13]|2024")
@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 28, 23, 59, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, 12, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC),
        datetime(2026, 8, 31, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
    ids=str,
)  # fmt: skip
def test_the_story_holds_on_any_day(now: datetime, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "platform.db"
    create_platform(path, ["u-1"], 1, now)

    for chapter in ("first", "second"):
        expected = {source.source_id: getattr(source.story, chapter) for source in SOURCES}
        assert story(path, settings, now, chapter) == {key: value for key, value in expected.items() if value}


# --- the events are believable ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    drawn = generate_events(50_000, 1_000, NOW, seed=1)
    columns = {name: drawn[name] for name in drawn.dtype.names}
    return pl.DataFrame(columns).with_columns(name=pl.Series(np.array(EVENT_TYPES)[drawn["type"]]))


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_about_as_many_events_happen_as_were_asked_for(count: int) -> None:
    assert len(generate_events(count, 500, NOW, seed=1)) == pytest.approx(count, rel=0.15)


def test_every_event_type_of_the_sample_happens(events: pl.DataFrame) -> None:
    assert set(events["name"]) == set(EVENT_TYPES)


def test_nothing_happens_after_now(events: pl.DataFrame) -> None:
    assert events["time"].max() < NOW.timestamp()


def test_funnels_narrow_and_some_opens_are_a_machine_s(events: pl.DataFrame) -> None:
    counts = dict(events["name"].value_counts().iter_rows())
    prefix = "users.messages.email."

    assert counts[prefix + "Send"] > counts[prefix + "Open"] > counts[prefix + "Click"] > counts[prefix + "Bounce"]
    machines = events.filter(pl.col("name") == prefix + "Open")["machine"].mean()
    assert 0.2 < machines < 0.5


def test_stopped_sources_send_nothing_after_they_are_stopped(events: pl.DataFrame) -> None:
    sends = events.filter(pl.col("name").str.contains(r"\.(?:Send|Impression)$") & (pl.col("source") >= 0))
    last: dict[int, int] = dict(sends.group_by("source").agg(pl.col("time").max()).iter_rows())
    for index, source in enumerate(SOURCES):
        stopped_at = source.stopped_at(NOW)
        if stopped_at is not None and source.story.restarted is None and source.story.sends:
            assert last[index] <= stopped_at.timestamp(), source.source_id


def test_control_groups_get_no_message(events: pl.DataFrame) -> None:
    entries = events.filter(pl.col("control") == 1)
    assert set(entries["name"]) == {"users.canvas.Entry"}
    canvases = [index for index, source in enumerate(SOURCES) if source.kind == "canvas"]
    sends = events.filter(pl.col("source").is_in(canvases) & pl.col("name").str.ends_with(".Send"))
    assert set(sends["variant"]) == {0, 1}


# --- refusals -----------------------------------------------------------------------------------------------------


def refusals() -> Iterator[tuple[str, dict[str, Any], dict[str, Any], type[Exception], str]]:
    yield "too few events", {}, {"events": 999}, TerminalRequestError, "1,000 to 10,000,000"
    yield "too many events", {}, {"events": 10_000_001}, TerminalRequestError, "1,000 to 10,000,000"
    yield "local time", {}, {"now": datetime(2026, 1, 1)}, TerminalRequestError, "UTC"  # noqa: DTZ001
    yield "another platform", {"platform_url": "postgresql://h/d"}, {}, TerminalSettingError, "PERENNIAL_PLATFORM_URL"
    yield "SELECTs", {"platform_sql": Path("own")}, {}, TerminalSettingError, "PERENNIAL_PLATFORM_SQL"
    yield "a bucket", {"landing_uri": "s3://b/landing"}, {}, TerminalSettingError, "PERENNIAL_LANDING_URI"


@pytest.mark.parametrize(
    ("changed", "arguments", "error", "named"), [case[1:] for case in refusals()], ids=[case[0] for case in refusals()]
)
def test_what_cannot_be_made_is_refused(
    changed: dict[str, Any], arguments: dict[str, Any], error: type[Exception], named: str, settings: Settings
) -> None:
    with pytest.raises(error, match=named):
        create_workspace(replace(settings, **changed), **{"events": 1_000, "now": NOW, **arguments})

    assert not settings.home.exists()


def test_a_workspace_that_is_there_is_never_overwritten(workspace: Workspace, settings: Settings) -> None:
    before = workspace.platform.read_bytes()

    with pytest.raises(TerminalSettingError, match=r"PERENNIAL_HOME"):
        create_workspace(settings, 1_000, now=NOW, seed=9)

    assert workspace.platform.read_bytes() == before
