"""Helm, validators, an image and a container of it, for all the tests of this process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripts.environments import MissingError, python_environment

from tests.deployed.image import Container, working_container

Tools = Callable[..., Any]
"""A function of `in_tools.py` by its name, with its arguments."""


@pytest.fixture(scope="session")
def tools() -> Tools:
    try:
        python = python_environment("deployment")
    except MissingError as missing:
        pytest.exit(f"The tests of deploy/ need {missing}", returncode=1)

    def call(name: str, **arguments: Any) -> Any:
        command = [str(python), str(Path(__file__).with_name("in_tools.py"))]
        asked = json.dumps((name, arguments))
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
def container() -> Iterator[Container]:
    """A container of the image of `deploy/Dockerfile`, which is built first."""
    try:
        with working_container() as made:
            yield made
    except MissingError as missing:
        pytest.exit(f"The tests of the image need {missing}", returncode=1)
