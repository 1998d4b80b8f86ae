"""What profiles and exports show at three moments: before an expiry, after it, and after a restore."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perennial.audiences.completeness import Completeness
from perennial.cli import app
from perennial.exports.models import parse_request, parse_segment_request
from perennial.exports.profile import Profile, read_profile
from perennial.exports.users import export_users, open_segment_export
from perennial.warehouse import Warehouse
from tests.exports.received_world import NOW, PEOPLE, SEGMENTS, build, expire, restore


@dataclass(frozen=True)
class Moment:
    """Everything that is shown at one moment.

    Attributes:
        profiles: By user.
        export: The answer to an export of everybody by id, as JSON.
        segments: By segment: the objects streamed, as JSON, and what they leave out.
        printed: By command.
    """

    profiles: dict[str, Profile]
    export: dict[str, Any]
    segments: dict[str, tuple[list[dict[str, Any]], Completeness]]
    printed: dict[str, Result]


@dataclass(frozen=True)
class Story:
    """The moments; `home` and `warehouse` are as they are after the restore."""

    home: Path
    warehouse: Warehouse
    before: Moment
    expired: Moment
    restored: Moment

    def run(self, *arguments: str) -> Result:
        return run(self.home, *arguments)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("home")
    warehouse = build(home)
    before = _look(home, warehouse)
    expire(warehouse)
    expired = _look(home, warehouse)
    restore(warehouse)
    return Story(home, warehouse, before, expired, _look(home, warehouse))


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"PERENNIAL_HOME": str(home)})


def _look(home: Path, warehouse: Warehouse) -> Moment:
    commands = ("profile ann", "users-export --braze-id bob", "users-export --segment not-old --strict")
    return Moment(
        profiles={user_id: read_profile(warehouse, user_id) for user_id in PEOPLE},
        export=json.loads(export_users(warehouse, parse_request({"braze_id": PEOPLE})).to_json()),
        segments={segment_id: _segment(warehouse, segment_id) for segment_id in SEGMENTS},
        printed={command: run(home, *command.split()) for command in commands},
    )


def _segment(warehouse: Warehouse, segment_id: str) -> tuple[list[dict[str, Any]], Completeness]:
    with open_segment_export(warehouse, parse_segment_request({"segment_id": segment_id}), NOW) as export:
        return [json.loads(user.to_json()) for user in export.users(batch_rows=3)], export.completeness
