"""What the archive, a run and a source cost and save: from real files, in the e-mail and on the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.cost import GB, Fact, Objects, count_objects, move_cost, read_prices
from perennial.errors import TerminalSettingError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.costs import LOCAL, NOTHING, archive_costs, run_costs, storage_costs
from perennial.moves.notifications import notify_owners
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["one"], "tags": [], "notify": ["ann@example.com"], "reason": "again", "dry_run": False}


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """r1 expires one and two; one comes back, gains rows, and r2 expires it again; two gains late rows, moved by r2."""
    home = tmp_path_factory.mktemp("costs")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for name, owner in (("one", "ann@example.com"), ("two", "bob@example.com"), ("stays", "ann@example.com")):
        workspace.source(name, owner_email=owner)
    workspace.audience("campaign:stays", received("stays"))
    append_hot(warehouse, [interaction(name, number) for name in ("one", "two", "stays") for number in range(50)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW))
    restore_sources(warehouse, REQUEST, Run("back", NOW))
    append_hot(warehouse, [interaction(name, number) for name in ("one", "two") for number in range(50, 60)])
    workspace.sync()
    expire_sources(warehouse, Run("r2", NOW + timedelta(days=100)))
    return warehouse


def on_s3(warehouse: Warehouse, storage_class: str | None, prices: Path | None = None) -> Warehouse:
    """The same warehouse, its archive configured to be on S3 from now on."""
    settings = replace(
        warehouse.settings, archive_uri="s3://cold/archive", archive_storage_class=storage_class, prices=prices
    )
    moved = Warehouse(settings)
    moved.create_tables()
    return moved


def sizes(warehouse: Warehouse) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for live in warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name)):
        found.setdefault(live.source_id, []).append(live.file_bytes)
    return found


def test_a_local_archive_saves_nothing_and_says_so(priced: Warehouse) -> None:
    local = Warehouse(
        replace(priced.settings, archive_uri=f"{priced.settings.home}/archive", prices=Path("absent.toml"))
    )
    local.create_tables()
    assert archive_costs(local).facts() == run_costs(local, "r1").facts() == [LOCAL]
    assert storage_costs(local, NOW, Decimal(0)) is None


def test_the_archive_is_priced_file_by_file_as_its_storage_class_bills_it(priced: Warehouse) -> None:
    warehouse = on_s3(priced, "GLACIER_IR")
    price = read_prices().classes["GLACIER_IR"]
    held = sizes(warehouse)
    assert archive_costs(warehouse).sources == {name: count_objects(found, price) for name, found in held.items()}
    assert archive_costs(warehouse, ["two"]).sources.keys() == {"two"}
    assert archive_costs(warehouse, ["stays"]).facts() == [NOTHING]
    assert archive_costs(warehouse).of(["one", "nobody"]).sources.keys() == {"one"}


def test_what_storage_costs_and_has_saved_adds_up(priced: Warehouse) -> None:
    warehouse = on_s3(priced, "STANDARD_IA")
    now = NOW + timedelta(days=130)
    found = storage_costs(warehouse, now, Decimal("0.5"))
    assert found is not None
    prices = read_prices()
    hot = sum(total.total_bytes for total in warehouse.source_totals(INTERACTIONS.name).values())
    archived = move_cost(prices, "STANDARD_IA", sum(archive_costs(warehouse).sources.values(), Objects()))
    standard = prices.standard.storage_per_gb_month
    assert found.today_per_month == hot * standard / GB + archived.archive_per_month
    assert (found.saved_per_month, found.next_per_month) == (
        archived.saved_per_month,
        found.today_per_month - Decimal("0.5"),
    )
    # What came back at once saved nothing; the rest has been there since r1 or r2.
    events = warehouse.read(LIFECYCLE_EVENTS.name).to_pylist()
    stays = {("r1", "two"): 130, ("r2", "one"): 30, ("r2", "two"): 30, ("r1", "one"): 0}
    moved = [event for event in events if (event["run_id"], event["source_id"]) in stays]
    byte_days = sum(event["total_bytes"] * stays[event["run_id"], event["source_id"]] for event in moved)
    price = prices.classes["STANDARD_IA"].storage_per_gb_month
    count = sum(event["file_count"] for event in moved)
    requests = move_cost(prices, "STANDARD_IA", Objects(count=count)).move_once
    assert float(found.saved_so_far) == pytest.approx(float(byte_days * (standard - price) / 30 / GB - requests))


def test_a_run_is_priced_by_the_files_that_it_moved_and_no_other(priced: Warehouse) -> None:
    warehouse = on_s3(priced, "STANDARD_IA")
    first, second = run_costs(warehouse, "r1").sources, run_costs(warehouse, "r2").sources
    held = sizes(warehouse)
    assert {name: found.count for name, found in first.items()} == {"one": 1, "two": 1}
    # What r1 moved of one has left the archive again; what it moved of two lies beside the late rows that r2 moved.
    assert second["one"].total_bytes == sum(held["one"])
    assert second["two"].total_bytes + first["two"].total_bytes == sum(held["two"])
    assert run_costs(warehouse, "back").facts() == [NOTHING]


def test_a_class_without_prices_is_refused_by_name(priced: Warehouse) -> None:
    with pytest.raises(TerminalSettingError, match="no storage class 'INTELLIGENT_TIERING'"):
        archive_costs(on_s3(priced, "INTELLIGENT_TIERING"))


def test_what_is_priced_is_what_the_bucket_holds(lake_warehouse: Warehouse) -> None:
    workspace = Workspace(lake_warehouse)
    workspace.source("one")
    append_hot(lake_warehouse, [interaction("one", number) for number in range(50)])
    workspace.sync()
    expire_sources(lake_warehouse, Run("r1", NOW))
    place = lake_warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().data_path
    held = [file.file_bytes for file in storage_for(place).list_files(place) if file.uri.endswith(".parquet")]
    counted = count_objects(held, read_prices().standard)
    assert held
    assert archive_costs(lake_warehouse).sources == run_costs(lake_warehouse, "r1").sources == {"one": counted}
    [fact] = archive_costs(lake_warehouse).facts()
    assert fact.text.startswith("No saving: the archive has the storage class of the hot table")


# --- where it is shown -------------------------------------------------------------------------------------------


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox(tmp_path / "mail") as mailbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mailbox.airflow_connection())
        yield mailbox


def test_every_owner_is_notified_of_what_the_move_of_their_own_sources_saves(priced: Warehouse, mail: Mailbox) -> None:
    warehouse = on_s3(priced, "STANDARD_IA")
    assert notify_owners(warehouse, Run("r1", NOW)) == 2
    costs = run_costs(warehouse, "r1")
    for message in mail.messages():
        [owner] = message.recipients
        mine = costs.of(["one" if owner == "ann@example.com" else "two"]).facts()
        assert "because 1 of 1 file is billed as 128 KiB" in mine[0].text
        for part in (message.text, message.html):
            assert all(fact.text in part for fact in mine)
            assert "28 Oct 2025" in part


@pytest.mark.parametrize(
    ("storage_class", "prices"), [("INTELLIGENT_TIERING", None), ("GLACIER", Path("absent.toml"))],
    ids=["no such class", "no such table"],
)  # fmt: skip
def test_a_digest_is_sent_even_where_nothing_can_be_priced(
    priced: Warehouse, mail: Mailbox, caplog: pytest.LogCaptureFixture, storage_class: str, prices: Path | None
) -> None:
    with caplog.at_level(logging.WARNING):
        assert notify_owners(on_s3(priced, storage_class, prices), Run("r1", NOW)) == 2
    assert "Digests do not mention costs: The price table" in caplog.text
    assert not [message for message in mail.messages() if "Costs and savings" in message.html]


def test_on_a_local_disk_the_digest_says_nothing_of_costs(priced: Warehouse, mail: Mailbox) -> None:
    local = Warehouse(replace(priced.settings, archive_uri=f"{priced.settings.home}/archive"))
    local.create_tables()
    assert notify_owners(local, Run("r1", NOW)) == 2
    assert not [message for message in mail.messages() if "Costs and savings" in message.html]


def status(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, *arguments: str, exit_code: int = 0) -> str:
    settings = warehouse.settings
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    monkeypatch.setenv("PERENNIAL_ARCHIVE_URI", settings.archive_uri or "")
    monkeypatch.setenv("PERENNIAL_ARCHIVE_STORAGE_CLASS", settings.archive_storage_class or "")
    monkeypatch.setenv("PERENNIAL_PRICES", str(settings.prices or ""))
    result = CliRunner().invoke(app, ["status", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def said(facts: list[Fact], output: str) -> bool:
    return all(fact.text in output for fact in facts)


def test_status_says_what_the_archive_a_source_and_a_run_cost(
    priced: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = on_s3(priced, "GLACIER")
    assert said(archive_costs(warehouse).facts(), status(monkeypatch, warehouse))
    assert said(archive_costs(warehouse, ["two"]).facts(), status(monkeypatch, warehouse, "two"))
    output = status(monkeypatch, warehouse, "--run", "r2")
    assert said(run_costs(warehouse, "r2").facts(), output)
    assert "late_archived" in output


def test_status_refuses_a_run_that_moved_nothing_and_two_questions_at_once(
    priced: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No run 'r9' has moved anything." in status(monkeypatch, priced, "--run", "r9", exit_code=1)
    assert "not both" in status(monkeypatch, priced, "one", "--run", "r1", exit_code=2)


def test_status_lists_every_source_before_it_says_that_nothing_can_be_priced(
    priced: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = status(monkeypatch, on_s3(priced, "GLACIER", Path("/absent.toml")), exit_code=1)
    assert "Name of two" in output
    assert "The price table /absent.toml cannot be read" in output
