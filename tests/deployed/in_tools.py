"""Run by the interpreter that has Helm and the validators: a request as JSON comes in, what they say goes out.

A request is the name of a function below and its arguments.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def render(chart: str, values: dict[str, Any], release: str) -> dict[str, Any]:
    """Render a chart as `helm template` does; what the schema of its values refuses is an error."""
    from helm_python import Chart, HelmError

    with Chart.load(chart) as loaded:
        try:
            return {
                "version": loaded.version,
                "files": loaded.render(values=values, name=release, namespace="perennial"),
            }
        except HelmError as error:
            return {"error": str(error)}


def lint(chart: str, values: dict[str, Any]) -> dict[str, Any]:
    from helm_python import lint as helm_lint

    return helm_lint(chart, values, strict=True, namespace="perennial")


def validate(objects: list[dict[str, Any]], versions: list[str]) -> list[str]:
    """Return what Kubernetes of these versions would refuse: unknown fields too."""
    import kubernetes_validate

    refused = []
    for version in versions:
        for described in objects:
            try:
                kubernetes_validate.validate(described, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                refused.append(f"{version} {described['kind']} {described['metadata']['name']}: {error}")
    return refused


def read_compose(document: dict[str, Any]) -> dict[str, Any]:
    """Read a file of Compose, its variables replaced, as its specification has it."""
    from compose_spec import PyCompose

    try:
        return {"services": PyCompose.from_json(json.dumps(document)).service_names()}
    except ValueError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    name, arguments = json.load(sys.stdin)
    json.dump(globals()[name](**arguments), sys.stdout)
