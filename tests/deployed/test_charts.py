"""Helm's own engine and the schemas of Kubernetes on `deploy/helm` and on the values for Airflow's chart."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml
from scripts.environments import python_environment

from tests.deployed.conftest import Tools
from tests.test_deploy import DEPLOY, airflow_values, chart_values, compose, read

# The oldest that Airflow's chart supports, and the newest that the validator knows.
KUBERNETES = ["1.30", "1.37"]
CHART = str(DEPLOY / "helm")
VERSION = yaml.safe_load(read("helm/Chart.yaml"))["version"]
ROLE_ARN = "eks.amazonaws.com/role-arn"
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 50000, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}


def objects(rendered: dict[str, Any]) -> list[dict[str, Any]]:
    """What the files of a chart describe."""
    assert "error" not in rendered, rendered["error"]
    texts = [text for path, text in rendered["files"].items() if path.endswith(".yaml")]
    return [described for text in texts for described in yaml.safe_load_all(text) if described]


def named(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


VALUES = {
    "as it comes": {},
    "a registry of one's own": {
        "image": {"repository": "registry.example.org:5000/team/perennial", "tag": "1.2.3", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "no roles": {"roles": dict.fromkeys(chart_values()["roles"], "")},
    "other secrets": {"secrets": {"settings": "acme", "database": "acme-metadata"}, "install": {"resources": {}}},
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_the_chart_renders_lints_and_is_what_kubernetes_takes(tools: Tools, values: dict[str, Any]) -> None:
    report = tools("lint", chart=CHART, values=values)
    # One severity below a warning: a chart without a picture.
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    assert not report["errors"]
    found = objects(tools("render", chart=CHART, values=values, release="perennial"))
    assert tools("validate", objects=found, versions=KUBERNETES) == []
    whole = chart_values() | {key: chart_values()[key] | mine for key, mine in values.items() if isinstance(mine, dict)}

    accounts = named(found, "ServiceAccount")
    roles = {name: account["metadata"].get("annotations", {}).get(ROLE_ARN, "") for name, account in accounts.items()}
    assert roles == {f"perennial-{role}": arn for role, arn in whole["roles"].items()}
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())

    [job] = named(found, "Job").values()
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == f"{whole['image']['repository']}:{whole['image']['tag'] or VERSION}"
    assert pod["serviceAccountName"] == "perennial-installer"
    assert pod["securityContext"] == RESTRICTED
    assert pod.get("imagePullSecrets", []) == values.get("imagePullSecrets", [])
    secrets = {source["secretRef"]["name"] for source in container["envFrom"]}
    secrets |= {variable["valueFrom"]["secretKeyRef"]["name"] for variable in container["env"]}
    assert secrets == set(whole["secrets"].values())
    assert len(found) == len(accounts) + 1


def test_the_job_of_the_chart_runs_the_commands_of_compose(tools: Tools) -> None:
    [job] = named(objects(tools("render", chart=CHART, values={}, release="perennial")), "Job").values()
    [container] = job["spec"]["template"]["spec"]["containers"]
    migrate, *commands = compose()["services"]["init"]["command"][-1].replace("$$", "$").splitlines()
    assert migrate == "airflow db migrate"
    # Airflow's chart migrates.
    wait = "airflow db check-migrations --migration-wait-timeout 180"
    assert container["args"] == ["bash", "-ec", "\n".join((wait, *commands, ""))]


REFUSED = {
    "/roles': additional properties 'lodaer' not allowed": {"roles": {"lodaer": "arn:aws:iam::111122223333:role/x"}},
    "/roles/loader": {"roles": {"loader": "perennial-loader"}},
    "/roles': missing property 'mover'": {"roles": {"mover": None}},
    "/image/repository": {"image": {"repository": ""}},
    "/secrets/admin": {"secrets": {"admin": "Admin Secret"}},
    "/install/migrationTimeout": {"install": {"migrationTimeout": "three minutes"}},
    "additional properties 'images' not allowed": {"images": {}},
}


@pytest.mark.parametrize(("said", "values"), REFUSED.items(), ids=REFUSED.keys())
def test_the_chart_refuses_what_it_would_not_understand(tools: Tools, said: str, values: dict[str, Any]) -> None:
    rendered = tools("render", chart=CHART, values=values, release="perennial")
    assert said in rendered["error"]


def test_the_chart_says_where_a_role_is_still_the_example(tools: Tools) -> None:
    own = {role: arn.replace("111122223333", "123456789012") for role, arn in chart_values()["roles"].items()}
    notes = [
        tools("render", chart=CHART, values=values, release="perennial")["files"]["perennial/templates/NOTES.txt"]
        for values in ({}, {"roles": own})
    ]
    assert ["set roles" in note for note in notes] == [True, False]
    assert all("kubectl logs --namespace perennial job/perennial-install" in note for note in notes)


def test_airflows_own_chart_makes_of_our_values_what_kubernetes_and_the_image_take(tools: Tools) -> None:
    chart = os.environ.get("AIRFLOW_CHART")
    if not chart:
        pytest.skip("AIRFLOW_CHART names no folder with Airflow's official chart")
    settings = read("airflow_local_settings.py")
    values = airflow_values() | {"airflowLocalSettings": settings}
    assert tools("lint", chart=chart, values=values)["errors"] == []
    rendered = tools("render", chart=chart, values=values, release="airflow")
    found = objects(rendered)
    assert tools("validate", objects=found, versions=KUBERNETES) == []
    config = named(found, "ConfigMap")["airflow-config"]["data"]
    assert config["airflow_local_settings.py"].strip() == settings.strip()
    found.append(yaml.safe_load(config["pod_template_file.yaml"]))
    assert tools("validate", objects=found[-1:], versions=KUBERNETES) == []

    pods = [
        each["spec"].get("template", each)["spec"] for each in found if each["kind"] in ("Deployment", "Job", "Pod")
    ]
    containers = [one for pod in pods for kind in ("initContainers", "containers") for one in pod.get(kind) or ()]
    assert len(pods) == 6
    assert {one["image"] for one in containers} == {f"registry.example.com/perennial:{VERSION}"}
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {50000}
    # Scripts of Airflow's own image; ours has the second.
    assert "/clean-logs" not in str(containers)
    assert "exec /entrypoint" in str(containers)
    accounts = named(found, "ServiceAccount")
    roles = {
        name: account["metadata"]["annotations"][ROLE_ARN].rpartition("/")[2]
        for name, account in accounts.items()
        if account["metadata"].get("annotations")
    }
    assert roles == {"airflow-api-server": "perennial-page", "airflow-triggerer": "perennial-mover"}
    notes = rendered["files"]["airflow/templates/NOTES.txt"]
    assert "password" not in notes
    assert "`workers." not in notes


def test_the_dockerfile_passes_hadolint(tools: Tools) -> None:
    hadolint = python_environment("deployment").with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
