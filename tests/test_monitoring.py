"""What is in deploy/monitoring: every metric that it names exists, and real tools read it.

promtool and Prometheus are Debian's. Where they are neither installed nor unpacked, the tests that need them are left to
those of a deployment, which fetch them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from scripts.environments import FOLDER, debian_environment, python_environment

from perennial.metrics import METRICS
from perennial_sample.ports import free_port
from tests import PROJECT_ROOT

FILES = PROJECT_ROOT / "deploy" / "monitoring"
PAGE = (PROJECT_ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ALERTS = [rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
TEST_FILES = sorted(FILES.glob("*.test.yaml"))
TESTS = [case for path in TEST_FILES for case in yaml.safe_load(path.read_text())["tests"]]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
MAPPED = "airflow_dag_task_duration_seconds"
UNPACKED = FOLDER / "prometheus" / "usr" / "bin"

Test = Callable[..., None]


def deployed(test: Test) -> Test:
    """Mark a test that fetches what it needs."""
    return pytest.mark.deploy(pytest.mark.long(test))


def with_promtool(test: Test) -> Test:
    return test if shutil.which("promtool") or (UNPACKED / "promtool").exists() else deployed(test)


def tool(name: str) -> str:
    return shutil.which(name) or str(debian_environment("prometheus") / "usr" / "bin" / name)


def run(*command: str, folder: Path = FILES) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *(rule["expr"] for rule in ALERTS)])
def test_every_metric_that_is_named_is_declared(expression: str) -> None:
    known = {metric.prometheus for metric in METRICS.values()} | {f"{MAPPED}_sum", f"{MAPPED}_count"}
    assert set(re.findall(r"airflow_\w+", expression)) <= known


def test_every_metric_is_shown_or_watched() -> None:
    said = " ".join([*EXPRESSIONS, *(rule["expr"] for rule in ALERTS)])
    # Failures of other DAGs are on Airflow's own pages; these two are of use to whoever writes rules of their own.
    left_out = {name for name in METRICS if name.endswith("_failures_total")}
    left_out |= {"expired_sources_total", "restored_sources_total"}
    assert {metric.name for metric in METRICS.values() if metric.prometheus not in said} == left_out - {
        "expire_interactions_failures_total"
    }


def test_each_alert_has_a_test_in_which_it_fires_one_in_which_it_does_not_and_a_section_of_its_own() -> None:
    fires: dict[str, set[bool]] = {}
    for case in TESTS:
        for check in case["alert_rule_test"]:
            fires.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert fires == {rule["alert"]: {True, False} for rule in ALERTS}
    for rule in ALERTS:
        assert f"\n### {rule['alert']}\n" in PAGE
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"


@with_promtool
def test_promtool_accepts_the_alerts_and_their_tests() -> None:
    assert f"{len(ALERTS)} rules found" in run(tool("promtool"), "check", "rules", "alerts.yaml")
    tested = run(tool("promtool"), "test", "rules", *(path.name for path in TEST_FILES))
    assert tested.count("SUCCESS") == len(TEST_FILES) == 2


@pytest.mark.parametrize("task_id", ["decide", "move_files__split", "move_files__again__copy"])
def test_the_mapping_names_how_long_tasks_take(task_id: str) -> None:
    (mapping,) = yaml.safe_load((FILES / "statsd-mapping.yaml").read_text())["mappings"]
    sent = f"airflow.dag.expire_interactions.{task_id}.duration"
    assert mapping["name"] == MAPPED
    # A star of the exporter stands for one part.
    assert fnmatch(sent, mapping["match"])
    assert sent.count(".") == mapping["match"].count(".")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a real Prometheus over an hour of every metric; yields the address of its API."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    series = [metric.prometheus for metric in METRICS.values()]
    series += [f'{MAPPED}_{part}{{dag_id="expire_interactions",task_id="decide"}}' for part in ("sum", "count")]
    samples = [f"{name} {1 + age // 60} {now - 3600 + age}" for name in series for age in range(0, 3601, 60)]
    (folder / "samples").write_text("\n".join([*samples, "# EOF\n"]))
    run(tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", "samples", "data", folder=folder)
    (folder / "prometheus.yml").write_text(f"rule_files: [{FILES / 'alerts.yaml'}]\n")
    address = f"127.0.0.1:{free_port()}"
    command = [tool("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address={address}",
               "--storage.tsdb.path=data", "--storage.tsdb.retention.time=10y"]  # fmt: skip
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w"))
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        assert any(_is_ready(address) for _ in range(240)), (folder / "log").read_text()
        yield f"http://{address}/api/v1"


def _is_ready(address: str) -> bool:
    time.sleep(0.25)
    try:
        return httpx.get(f"http://{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@deployed
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_prometheus_answers_every_expression_of_the_dashboard(prometheus: str, expression: str) -> None:
    answer = httpx.get(f"{prometheus}/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    assert answer["data"]["result"]


@deployed
def test_prometheus_loads_the_alerts(prometheus: str) -> None:
    (group,) = httpx.get(f"{prometheus}/rules").json()["data"]["groups"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in ALERTS]


_ROUND_TRIP = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
print(json.dumps(Dashboard.from_json(json.load(sys.stdin)), cls=JSONEncoder))
"""


def _lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Name what is not, or not the same, in a dashboard that Grafana's own classes have read and written."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from _lost(value, kept.get(key), f"{path}/{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, pair in enumerate(zip(given, kept, strict=True)):
            yield from _lost(*pair, f"{path}/{number}")
    elif given != kept:
        yield path


@deployed
def test_grafana_knows_every_field_of_the_dashboard() -> None:
    python = python_environment("grafana")

    def lost(dashboard: Any) -> list[str]:
        written = subprocess.run(
            [python, "-c", _ROUND_TRIP], input=json.dumps(dashboard), capture_output=True, text=True, check=True
        )
        return list(_lost(dashboard, json.loads(written.stdout)))

    misspelt = json.loads(
        json.dumps(DASHBOARD).replace('"gridPos"', '"gridPosition"').replace('"expr"', '"expression"')
    )
    assert {path.rpartition("/")[2] for path in lost(misspelt)} == {"gridPosition", "expression"}
    assert not lost(DASHBOARD)
