"""The files of deploy/ against the code: variables, paths, users, pools, locked requirements."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.settings import DEFAULTS, PREFIX, Settings
from tests import PROJECT_ROOT
from tests.aws import Aws
from tests.test_project import locked

DEPLOY = PROJECT_ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc")
SETTINGS = {PREFIX + key for key in (*DEFAULTS, "HOME")}
# Read by compose.yaml itself.
OTHERS = {"PERENNIAL_IMAGE"}
POOL = "perennial_copies"


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("compose.yaml"))
    return found


def airflow_values() -> dict[str, Any]:
    """What Airflow's own chart is given."""
    found: dict[str, Any] = yaml.safe_load(read("airflow-values.yaml"))
    return found


def chart_values() -> dict[str, Any]:
    """What our chart has where nothing is given."""
    found: dict[str, Any] = yaml.safe_load(read("helm/values.yaml"))
    return found


def example() -> dict[str, str]:
    lines = [line for line in read("perennial.env.example").splitlines() if re.match(r"[A-Z]", line)]
    return dict(line.split("=", 1) for line in lines)


# --- variables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DEPLOY).as_posix())
def test_every_variable_of_ours_that_is_named_is_a_setting(path: Path) -> None:
    named = set(re.findall(rf"(?<!__)\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert named <= SETTINGS | OTHERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DEPLOY).as_posix())
def test_nothing_is_unpaused_before_somebody_has_looked(path: Path) -> None:
    assert not re.search("paused_(at|upon)_creation", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_the_readme_explains_every_setting() -> None:
    explained = re.findall(rf"^\| `({PREFIX}\w+)` \|", read("README.md"), flags=re.MULTILINE)
    assert sorted(explained) == sorted(SETTINGS)


def test_the_example_can_be_read_as_settings() -> None:
    settings = Settings.from_environment(example())
    assert settings.archive_uri == "s3://example-archive/interactions"
    assert settings.archive_storage_class == "GLACIER_IR"


def test_the_example_has_every_secret_without_a_value() -> None:
    secrets = {name for name, value in example().items() if not value}
    assert secrets == {
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__SECRET_KEY",
        "ADMIN_PASSWORD",
    }


def test_connections_of_the_example_are_what_airflow_reads() -> None:
    from airflow.sdk import Connection

    found = {
        name: Connection.from_json(value, conn_id=name)
        for name, value in example().items()
        if name.startswith("AIRFLOW_CONN")
    }
    assert {name: connection.conn_type for name, connection in found.items()} == {
        "AIRFLOW_CONN_AWS_DEFAULT": "aws",
        "AIRFLOW_CONN_SMTP_DEFAULT": "smtp",
    }
    assert found["AIRFLOW_CONN_SMTP_DEFAULT"].extra_dejson["from_email"] == "perennial@example.com"


# --- image -------------------------------------------------------------------------------------------------------


def copied() -> list[str]:
    """What the Dockerfile takes from the project."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", read("Dockerfile"), flags=re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_what_the_image_is_made_of_exists_and_is_not_ignored() -> None:
    assert all((PROJECT_ROOT / source).exists() for source in copied())
    let_in = {line[1:] for line in read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert sorted(let_in) == sorted(copied())


# Run in a copy of what the image has: every module, every file that one names, every statement, table and view.
USES_ALL = """
import importlib, pkgutil, sys
from pathlib import Path
import perennial
from perennial.statements import SQL_ROOT, statement
app = Path(sys.argv[1])
for module in pkgutil.walk_packages(perennial.__path__, "perennial."):
    named = vars(importlib.import_module(module.name)).items()
    # The reference pages are written where the project is developed.
    paths = [value for _, value in named if isinstance(value, Path) and not value.is_relative_to(app / "docs")]
    assert all(path.is_relative_to(app) and path.exists() for path in paths), (module.name, paths)
from perennial.cost import read_prices
from perennial.settings import Settings
from perennial.warehouse import Warehouse
read_prices()
assert [statement(path.relative_to(SQL_ROOT).with_suffix("").as_posix()) for path in SQL_ROOT.rglob("*.sql")]
Warehouse(Settings.from_environment()).create_tables()
assert perennial.connect().execute("SELECT count(*) FROM source_availability").fetchone() == (0,)
"""


@pytest.mark.long
def test_the_image_has_all_that_the_package_finds_beside_itself(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for source in copied():
        # As its .dockerignore has it.
        origin, ignored = PROJECT_ROOT / source, shutil.ignore_patterns("__pycache__", "*.egg-info")
        if origin.is_dir():
            shutil.copytree(origin, app / source, ignore=ignored)
        elif "/" not in source:
            shutil.copy(origin, app / source)
    homes = {"PERENNIAL_HOME": str(tmp_path / "home"), "AIRFLOW_HOME": str(tmp_path)}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(app / "include"), **homes}
    command = [sys.executable, "-c", USES_ALL, str(app)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "AIRFLOW__CORE__DAGS_FOLDER=/app/dags" in read("Dockerfile")
    assert (app / "dags").is_dir()


def test_no_process_of_the_image_is_root() -> None:
    assert re.findall(r"^USER (.+)$", read("Dockerfile"), flags=re.MULTILINE) == ["50000"]
    assert "useradd --uid 50000 --gid 0 " in read("Dockerfile")
    assert (airflow_values()["uid"], airflow_values()["gid"]) == (50000, 0)


def test_the_image_installs_locked_requirements_with_hashes() -> None:
    text = (PROJECT_ROOT / "requirements" / "deploy.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert "://" not in text
    assert re.findall(r"--require-hashes", read("Dockerfile"))


def test_the_image_has_the_versions_that_were_tested() -> None:
    deployed, runtime = locked("deploy"), locked("runtime")
    assert {project: deployed.get(project) for project in runtime} == runtime
    assert {"apache-airflow-providers-celery", "apache-airflow-providers-cncf-kubernetes", "psycopg2-binary"} <= set(
        deployed
    )
    assert airflow_values()["airflowVersion"] in deployed["apache-airflow"]


# --- compose and chart -------------------------------------------------------------------------------------------


def test_compose_runs_every_part_of_airflow_from_our_image() -> None:
    services = compose()["services"]
    ours = {name: service["command"] for name, service in services.items() if "build" in service}
    assert {name: command for name, command in ours.items() if name != "init"} == {
        "api-server": ["airflow", "api-server"],
        "scheduler": ["airflow", "scheduler"],
        "dag-processor": ["airflow", "dag-processor"],
        "triggerer": ["airflow", "triggerer"],
        "worker": ["python", "-m", "perennial.preload", "celery", "worker"],
    }
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
    build = services["worker"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_no_task_hands_another_a_local_file() -> None:
    shared = [service.get("volumes") for name, service in compose()["services"].items() if "build" in service]
    assert shared == [None] * 6
    assert example()["PERENNIAL_OPERATIONS_URI"].startswith("s3://")


def test_both_ways_of_deploying_make_pool_user_and_tables_by_the_same_commands() -> None:
    # Airflow's chart has a Job of its own for the first.
    migrate, *commands = compose()["services"]["init"]["command"][-1].replace("$$", "$").splitlines()
    assert migrate == "airflow db migrate"
    assert commands[0] == f'airflow pools set {POOL} 16 "Copy tasks of perennial at the same time"'
    in_the_job = read("helm/templates/install-job.yaml").replace("\n" + 14 * " ", "\n")
    assert "\n" + "\n".join(commands) + "\n" in in_the_job
    assert example()["PERENNIAL_COPY_POOL"] == POOL


def test_our_chart_and_airflows_have_one_image_one_version_and_the_secrets_that_the_readme_makes() -> None:
    chart = yaml.safe_load(read("helm/Chart.yaml"))
    ours, values = chart_values(), airflow_values()
    assert ours["image"]["repository"] == values["defaultAirflowRepository"]
    assert chart["version"] == chart["appVersion"] == values["defaultAirflowTag"]
    secrets = ours["secrets"]
    made = set(re.findall(r"kubectl create secret generic ([\w-]+)", read("README.md")))
    assert set(secrets.values()) == made
    assert [secrets[name] for name in ("database", "fernetKey", "apiSecretKey", "jwtSecret")] == [
        values["data"]["metadataSecretName"],
        *(values[name] for name in ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName")),
    ]
    keys = re.findall(r"name: \{\{ \.(\w+) \}\}, key: ([\w-]+)", read("helm/templates/install-job.yaml"))
    assert len(keys) == 4
    for secret, key in keys:
        assert re.search(rf"{secrets[secret]} --namespace perennial [^&]*?--from-literal={key}=", read("README.md"))


def test_airflows_chart_is_given_the_settings_that_give_each_task_its_account() -> None:
    option = "--set-file airflowLocalSettings=deploy/airflow_local_settings.py"
    assert option in read("README.md")
    assert option in read("airflow-values.yaml")
    # The chart takes it for a template.
    assert "{{" not in read("airflow_local_settings.py")


def test_the_chart_runs_one_pod_a_task_with_the_dags_of_the_image() -> None:
    values = airflow_values()
    assert values["executor"] == "KubernetesExecutor"
    assert (values["config"]["core"]["dags_folder"], values["airflowHome"]) == ("/app/dags", "/airflow")
    assert not values["redis"]["enabled"]
    assert values["dagProcessor"]["enabled"]
    [reference] = yaml.safe_load(values["extraEnvFrom"])
    assert reference == {"secretRef": {"name": "perennial"}}


def test_the_chart_makes_no_user_with_a_password_that_everybody_knows() -> None:
    # Charts before 1.19 have no such switch, those before 1.22 not every other value; they refuse what they do not know.
    assert airflow_values()["createUserJob"] == {"enabled": False}
    assert "(1.22 or later)" in read("airflow-values.yaml")


def test_parts_of_airflow_reach_the_database_by_the_way_that_their_secret_names() -> None:
    assert airflow_values()["data"] == {"metadataSecretName": "airflow-metadata"}
    assert airflow_values()["pgbouncer"] == airflow_values()["postgresql"] == {"enabled": False}


# --- buckets -----------------------------------------------------------------------------------------------------


def test_rules_of_the_buckets_are_taken_by_s3_and_only_those_for_personal_data_end_current_objects(aws: Aws) -> None:
    client = aws.client()
    ended = {}
    for path in (DEPLOY / "buckets").glob("*.json"):
        bucket = aws.bucket()
        rules = json.loads(path.read_text(encoding="utf-8"))
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
        taken = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert [rule["ID"] for rule in taken] == [rule["ID"] for rule in rules["Rules"]]
        assert all("Transitions" not in rule for rule in taken)
        assert any("NoncurrentVersionExpiration" in rule for rule in taken)
        ended[path.stem] = {
            rule["Filter"]["Prefix"]: rule["Expiration"]["Days"]
            for rule in taken
            if "Days" in rule.get("Expiration", {})
        }
    assert ended == {"tables-and-archive": {}, "personal-data": {"user-data/": 7, "results/": 1}}
    assert example()["PERENNIAL_EXPORTS_URI"].endswith("/user-data")


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", read("README.md"))
    assert not [target for target in targets if not (DEPLOY / target).exists()]
    told = set(
        re.findall(r"`([\w./-]+)`", "\n".join(re.findall(r"^\| (`.+`) \|", read("README.md"), flags=re.MULTILINE)))
    )
    files = {path.relative_to(DEPLOY).as_posix() for path in FILES}
    assert {
        "helm/" if name.startswith("helm/") else name for name in files - {"README.md", "Dockerfile.dockerignore"}
    } <= told
