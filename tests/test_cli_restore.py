"""`perennial restore`: what the DAG does, in one process, without an Airflow."""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perennial.cli import app
from perennial.moves import Run, expire_sources, inline
from perennial.moves.inline import restore_and_notify
from perennial.notify.restore_command import build_restore_command
from perennial.operations import pending_records
from perennial.settings import Settings
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox, open_mailbox
from tests.kill import Point, run_and_kill
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.strict_mail_server import CONNECTION, StrictServer, listening
from tests.workspace import Workspace

NOW = datetime.now(UTC)
HOSTILE = ["cmp-old\\", 'it\'s "x" $HOME `id`', "-rf", "two\nlines\u2028\\"]
NOTIFY = ("--notify", "ann@example.com")


@pytest.fixture(autouse=True)
def _configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))


@pytest.fixture
def expired(warehouse: Warehouse) -> Counter[str]:
    """A workspace whose stopped sources have expired; the rows that it had before."""
    workspace = Workspace(warehouse)
    workspace.source("cmp-winter-coats", "stopped", "winter", name="Winter coats")
    for source_id in HOSTILE:
        workspace.source(source_id)
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    before = visible(warehouse)
    expire_sources(warehouse, Run("r1", NOW - timedelta(days=1), "ann"))
    assert visible(warehouse) != before
    return before


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["restore", *arguments])
    assert result.exit_code == exit_code, result.output
    return result


@pytest.mark.long
def test_the_command_that_answers_print_brings_back_what_they_miss_without_an_airflow(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in the README: the program is not on the path of the shell.
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("perennial"))])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    again = build_restore_command(["cmp-winter-coats", *HOSTILE], (), ["ann@example.com"], "it's\nneeded")
    assert again is not None
    with Mailbox(tmp_path / "mail") as mailbox:
        environment = {
            "PATH": os.environ["PATH"],
            "PERENNIAL_HOME": str(warehouse.settings.home),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            CONNECTION: mailbox.airflow_connection(),
            # Also where no locale is set.
            "LC_ALL": "C",
        }
        done = subprocess.run(["bash", "-c", again.command], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        (mail,) = mailbox.messages()
        # An Airflow that does not even start keeps nothing from coming back; who asked for it is told here.
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = "nonsense"
        command = f"{again.command} cmp-winter-coats"
        failed = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (failed.returncode, "already available" in failed.stdout) == (1, True)
    assert (
        "The e-mail did not reach ann@example.com (Airflow, which holds the connection smtp_default, " in failed.stderr
    )
    assert visible(warehouse) == multiset(warehouse, "interactions") == expired
    assert mail.subject == "Restored: 5 sources, 15 interactions"
    assert (mail.recipients, "it's" in mail.text) == (("ann@example.com",), True)
    assert not list((tmp_path / "airflow").rglob("*.db"))


@pytest.mark.long
def test_it_moves_notifies_and_records_as_the_dag_does(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path
) -> None:
    with open_mailbox(tmp_path / "mail") as mailbox:
        said = run("cmp-old\\", "--tag", "winter", *NOTIFY, "--reason", "relaunch").stdout
        (mail,) = mailbox.messages()
    assert multiset(warehouse, "interactions", ["cmp-winter-coats", "cmp-old\\", "running"]) == visible(warehouse)
    assert hot_and_archive(warehouse) == expired
    assert re.search(r"^cmp-winter-coats +Winter coats +restored +3 ", said, re.MULTILINE)
    assert re.search(r"^cmp-old\\ +Name of cmp-old\\ +restored +3 ", said, re.MULTILINE)
    assert "Notified ann@example.com." in said
    assert "Progress:" not in mail.text  # Airflow has no such run.
    (run_id,) = set(re.findall(r"manual__cli_\S+[0-9a-f]", said))
    assert run_id in mail.text
    shown = CliRunner().invoke(app, ["status", "--run", run_id]).output
    assert re.search(r"^restored .* 2 +6 ", shown, re.MULTILINE)
    history = CliRunner().invoke(app, ["status", "cmp-winter-coats"]).output
    assert re.search(rf"restored .* {getpass.getuser()} +relaunch +{re.escape(run_id)}", history)


@pytest.mark.long
def test_a_dry_run_says_what_would_come_back_and_moves_nothing(expired: Counter[str], warehouse: Warehouse) -> None:
    before = visible(warehouse)
    # Nobody listens: what cannot be told is told here.
    said = run("cmp-winter-coats", *NOTIFY, "--dry-run", exit_code=1)
    assert re.search(r"Winter coats +would be restored +3 ", said.stdout)
    assert visible(warehouse) == before


@pytest.mark.long
def test_a_mail_that_cannot_be_sent_leaves_the_restore_and_names_who_could_not_be_notified(
    expired: Counter[str], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["cmp-winter-coats", *HOSTILE]
    with listening(StrictServer(refuses={"bob@example.com": ["550 no such user"]}), monkeypatch):
        said = run(*NOTIFY, "--notify", "bob@example.com", "--", *ids[:2], exit_code=1)
    assert "Notified ann@example.com." in said.stdout
    assert "The e-mail did not reach bob@example.com (550 no such user)." in said.stderr
    monkeypatch.delenv(CONNECTION)
    said = run(*NOTIFY, "--", *ids[2:], exit_code=1)
    assert "The e-mail did not reach ann@example.com" in said.stderr
    assert "AIRFLOW_CONN_SMTP_DEFAULT" in said.stderr
    assert visible(warehouse) == expired


@pytest.mark.long(but="^address$")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("cmp-wintercoats", *NOTIFY),
            "'cmp-wintercoats' is not a known source; did you mean 'cmp-winter-coats'?",
        ),
        (("winter coats", *NOTIFY), "'winter coats' is not a known source; did you mean 'cmp-winter-coats'?"),
        (("--tag", "wintr", *NOTIFY), "'wintr' is not a known tag; did you mean 'winter'?"),
        (
            ("nobody", *NOTIFY),
            "'nobody' is not a known source; nothing was moved. Correct the request, or run sync_sources if it is new "
            "on the platform.",
        ),
        (
            ("running", "--notify", "Maria <maria@example.com>"),
            "'Maria <maria@example.com>' is not a plain e-mail address; did you mean 'maria@example.com'?",
        ),
        (
            ("running", "--notify", "maria@example"),
            "'maria@example' is not an e-mail address; write name@example.com, in ASCII letters (an international "
            "domain in its xn-- form), without a display name.",
        ),
        (("running",), "notify is empty; give at least one e-mail address."),
        ((*NOTIFY,), "source_ids and tags are both empty; name at least one source or one tag."),
        (
            ("running", *NOTIFY, "--thaw-tier", "Expidited"),
            "thaw_tier is 'Expidited'; give one of Expedited, Standard, Bulk.",
        ),
    ],
    ids=["id", "name", "tag", "nothing near", "display name", "address", "nobody to notify", "nothing", "tier"],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_moves(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = visible(warehouse)
    with open_mailbox(tmp_path / "mail") as mailbox:
        assert run(*arguments, exit_code=1).stderr.splitlines()[-1] == said
        assert not mailbox.messages()
    assert visible(warehouse) == before


@pytest.mark.long
def test_status_explain_and_resume_check_say_the_same_of_an_unknown_source(expired: Counter[str]) -> None:
    said = {
        " ".join(CliRunner().invoke(app, [command, "cmp-wintercoats"]).stderr.split())
        for command in ("status", "explain", "resume-check")
    }
    assert said == {"'cmp-wintercoats' is not a known source; did you mean 'cmp-winter-coats'?"}


@pytest.mark.long
def test_what_does_not_come_back_is_named_and_the_rest_comes(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path
) -> None:
    (lost,) = warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name), {"cmp-old\\"})
    Path(lost.uri.removeprefix("file://")).unlink()
    with open_mailbox(tmp_path / "mail") as mailbox:
        said = run("cmp-winter-coats", "cmp-old\\", *NOTIFY, exit_code=1)
        (mail,) = mailbox.messages()
    assert re.search(r"^cmp-old\\ +Name of cmp-old\\ +failed", said.stdout, re.MULTILINE)
    assert re.search(r"^cmp-winter-coats +Winter coats +restored +3 ", said.stdout, re.MULTILINE)
    assert "finished in part (1 failed, 1 restored)" in said.stdout
    assert mail.subject.startswith("Restored in part: 1 of 2 sources")


def restore_all(warehouse: Warehouse) -> None:
    params = {"source_ids": ["cmp-winter-coats", *HOSTILE], "notify": ["ann@example.com"]}
    restore_and_notify(warehouse, params, Run("killed", datetime.now(UTC)), lambda *_: None)


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    [
        Point("before", "perennial.moves.copy:_write_results"),
        Point("after", "commit:add"),
        Point("after", "commit:remove"),
        Point("before", "perennial.moves.inline:send_report"),
    ],
    ids=str,
)
def test_one_that_is_killed_is_finished_by_running_it_again(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, point: Point
) -> None:
    with open_mailbox(tmp_path / "mail") as mailbox:
        run_and_kill(warehouse.settings, point, restore_all)
        assert hot_and_archive(warehouse).keys() == expired.keys()
        run(*NOTIFY, "--", "cmp-winter-coats", *HOSTILE)
        assert len(mailbox.messages()) == 1
    assert visible(warehouse) == multiset(warehouse, "interactions") == expired
    assert multiset(warehouse, INTERACTIONS_ARCHIVE.name) == {}


@pytest.mark.long
def test_ctrl_c_says_that_nothing_is_lost_and_the_next_run_goes_on(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_mailbox(tmp_path / "mail") as mailbox, monkeypatch.context() as patch:
        patch.setattr(inline, "verify_move", lambda *_: signal.raise_signal(signal.SIGINT))
        said = run("cmp-winter-coats", *NOTIFY, exit_code=130)
        assert "Nothing was lost: run the same command again" in said.stderr
        patch.undo()
        patch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))
        patch.setenv(CONNECTION, mailbox.airflow_connection())
        run(*NOTIFY, "--", "cmp-winter-coats", *HOSTILE)
    assert visible(warehouse) == multiset(warehouse, "interactions") == expired


@pytest.mark.long
def test_r23_cancel_says_whether_it_was_in_time_and_the_command_that_restores_ends(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_copy, said = inline.copy_chunk, []
    before = multiset(warehouse, "interactions"), visible(warehouse)

    def cancel_meanwhile(*arguments: Any, **named: Any) -> int:
        (record,) = pending_records(warehouse)
        misspelt = CliRunner().invoke(app, ["cancel", record.run_id[:-1]])
        assert misspelt.exit_code == 1
        assert f"did you mean '{record.run_id}'?" in misspelt.output
        said.append(CliRunner().invoke(app, ["cancel", record.run_id, "--by", "ben"]).output)
        return really_copy(*arguments, **named)

    monkeypatch.setattr(inline, "copy_chunk", cancel_meanwhile)
    with Mailbox(tmp_path / "mail") as mailbox:
        monkeypatch.setenv(CONNECTION, mailbox.airflow_connection())
        done = run("cmp-winter-coats", *NOTIFY, exit_code=1)
        (mail,) = mailbox.messages()

    assert said == ["Cancelled. Nothing was moved: everything stays in the archive, expired exactly as before.\n"]
    assert "cancelled by ben" in done.output
    assert mail.subject == "Restore cancelled: Winter coats"
    assert (multiset(warehouse, "interactions"), visible(warehouse)) == before
    assert not list(pending_records(warehouse))


@pytest.mark.long
def test_r23_a_restore_above_its_ceiling_is_refused_at_the_terminal(
    expired: Counter[str], warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(tmp_path / "mail") as mailbox:
        monkeypatch.setenv(CONNECTION, mailbox.airflow_connection())
        refused = run("--tag", "winter", *NOTIFY, "--max-bytes", "1", exit_code=1)
        (mail,) = mailbox.messages()
    assert "max_bytes is 1 byte. Nothing was moved. Raise the ceiling" in refused.output
    assert "max_bytes is 1 byte" in mail.text
    assert "cmp-winter-coats" not in warehouse.source_totals("interactions")
