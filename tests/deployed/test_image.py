"""The image of `deploy/Dockerfile`: what is in it, what its user may write, and the life cycle inside it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import psutil
from packaging.utils import canonicalize_name

from perennial_sample.mailbox import Mailbox
from tests import PROJECT_ROOT
from tests.deployed.image import Container
from tests.test_deploy import airflow_values
from tests.test_project import locked

[AIRFLOW] = locked("deploy")["apache-airflow"]
DAGS = {path.stem for path in (PROJECT_ROOT / "dags").glob("[!_]*.py")}
HOME = "/airflow/perennial"


def said(container: Container, *words: str, **environment: str) -> str:
    done = container.run(*words, environment=environment)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_image_has_the_locked_packages_and_no_others(container: Container) -> None:
    frozen = (line.split("==") for line in said(container, "pip", "list", "--format", "freeze").splitlines())
    installed = {canonicalize_name(project): version for project, version in frozen}
    expected = locked("deploy")
    # Not every locked one is installed: some are for other systems and other Pythons.
    others = {project for project, version in installed.items() if version not in expected.get(project, ())}
    assert others == {"perennial-airflow", "pip"}
    assert said(container, "python", "-m", "pip", "check").strip() == "No broken requirements found."


def test_airflow_in_the_image_has_every_dag_and_no_import_error(container: Container) -> None:
    assert said(container, "airflow", "version").strip() == AIRFLOW
    said(container, "airflow", "db", "migrate")
    said(container, "airflow", "dags", "reserialize")
    # It begins with warnings.
    listed = json.loads(said(container, "airflow", "dags", "list", "--output", "json").splitlines()[-1])
    assert {dag["dag_id"] for dag in listed} == DAGS
    assert all(dag["is_paused"] == "True" for dag in listed)
    assert {Path(dag["fileloc"]).parent for dag in listed} == {Path("/app/dags")}
    assert said(container, "airflow", "dags", "list-import-errors").splitlines()[-1] == "No data found"


def test_no_file_outside_of_the_home_can_be_written(container: Container) -> None:
    # Where it may not even look, find fails.
    find = r"find / -xdev \( -path /proc -o -path /dev \) -prune -o ! -type l -writable -print 2>/dev/null || true"
    found = said(container, "sh", "-c", find)
    assert set(re.findall(r"^/(?:airflow|(?:var/)?tmp|run/lock)(?=/|$)|^.+", found, re.MULTILINE)) == {
        "/airflow",
        "/tmp",
        "/var/tmp",
        "/run/lock",
    }
    assert said(container, "sh", "-c", "id -u; id -g; echo $HOME; pwd").split() == [
        "50000",
        "0",
        "/airflow",
        "/airflow",
    ]
    package = said(container, "python", "-c", "import perennial; print(perennial.__file__)").strip()
    assert package == "/app/include/perennial/__init__.py"


def test_orphans_are_buried_and_a_signal_reaches_the_command(container: Container) -> None:
    # The child ends after its parent has; nobody but the first process is left to wait for it.
    orphan = "(sleep 1 & exec true); sleep 3; cat /proc/[0-9]*/stat"
    assert re.findall(r"\((.+)\) Z", said(container, "sh", "-c", orphan)) == []
    waiting = subprocess.Popen(
        container.command("sh", "-c", "trap 'echo ended; exit 7' TERM; echo up; sleep 60 & wait"), stdout=-1, text=True
    )
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "up\n"
    [first] = psutil.Process(waiting.pid).children()
    assert first.name() == "tini"
    first.send_signal(signal.SIGTERM)
    assert (waiting.stdout.read(), waiting.wait(60)) == ("ended\n", 7)


def test_what_airflows_chart_calls_in_the_image_is_there(container: Container) -> None:
    assert said(container, "sh", "-c", "exec /entrypoint airflow version").strip() == AIRFLOW
    # The log groomer: one round of it, on an old file and a new one.
    [shell, option, groom] = airflow_values()["scheduler"]["logGroomerSidecar"]["args"]
    old_and_new = "mkdir -p /airflow/logs; touch /airflow/logs/new; touch -d '20 days ago' /airflow/logs/old; "
    once = groom.replace("while sleep 3600; do", "").removesuffix("done")
    assert said(container, shell, option, f"{old_and_new}{once} ls /airflow/logs").split()[-1] == "new"
    assert "old" not in said(container, "ls", "/airflow/logs")


def rows(container: Container, table: str) -> Counter[str]:
    """Every row of a table, whole, with how often it is there."""
    answer = json.loads(said(container, "perennial", "sql", "--json", f"SELECT * FROM {table}", PERENNIAL_HOME=HOME))
    return Counter(json.dumps(row, sort_keys=True) for row in answer)


def test_the_life_cycle_runs_in_the_image(container: Container, tmp_path: Path) -> None:
    said(container, "perennial", "init", PERENNIAL_HOME="/airflow/empty")
    told = said(container, "perennial", "demo", "--events", "3000", PERENNIAL_HOME=HOME)
    assert "today's expiry" in told
    hot, archived = rows(container, "interactions"), rows(container, "interactions_archive")
    sources = Counter(json.loads(row)["source_id"] for row in archived.elements())
    [(source, count)] = sources.most_common(1)
    with Mailbox(tmp_path) as mailbox:
        variables = {"PERENNIAL_HOME": HOME, "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.airflow_connection()}
        said(container, "perennial", "restore", source, "--notify", "ann@example.com", "--reason", "test", **variables)
        assert [mail.recipients for mail in mailbox.messages()] == [("ann@example.com",)]
    back = Counter({row: times for row, times in archived.items() if json.loads(row)["source_id"] == source})
    assert back.total() == count > 0
    assert rows(container, "interactions") == hot + back
    assert rows(container, "interactions_archive") == archived - back
    said(container, "perennial", "check", PERENNIAL_HOME=HOME)
