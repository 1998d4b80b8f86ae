"""What only a catalog on AWS has: roles whose keys run out, rights, regions."""

from __future__ import annotations

import json
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from moto.core.responses import BaseResponse
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import PyArrowFileIO

from perennial.errors import TerminalSettingError, TransientError
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from perennial_sample.ports import free_port
from tests.aws import KEY as OWN_KEY
from tests.aws import REGION, Aws

CATALOG = "PYICEBERG_CATALOG__PERENNIAL__"
Open = Callable[..., Warehouse]


@pytest.fixture
def opened(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a Glue catalog that has nothing but the connection for its keys; what is named is configured besides."""

    given = {
        "AIRFLOW_CONN_AWS_DEFAULT": aws.connection,
        f"{CATALOG}TYPE": "glue",
        f"{CATALOG}WAREHOUSE": f"s3://{aws.bucket()}/warehouse",
        f"{CATALOG}GLUE__ENDPOINT": aws.url,
        "PERENNIAL_ARCHIVE_URI": f"s3://{aws.bucket()}/archive",
        "PERENNIAL_NAMESPACE": f"n{uuid.uuid4().hex}",
        "PERENNIAL_HOME": str(tmp_path),
    }

    def opened(**changed: str) -> Warehouse:
        environment = given | changed
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3_storage.cache_clear()
        return Warehouse(Settings.from_environment(environment))

    yield opened
    s3_storage.cache_clear()


@pytest.fixture
def role(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection without a login on a machine whose role gives out other keys each time, as good as over."""
    source = tmp_path / "keys"
    source.write_text(
        "#!/bin/sh\n"
        f"echo x >> {tmp_path}/asked; n=$(wc -l < {tmp_path}/asked)\n"
        """echo '{"Version": 1, "AccessKeyId": "KEY'$n'", "SecretAccessKey": "s", "SessionToken": "TOKEN'$n'","""
        """ "Expiration": "'$(date -u -d "+30 seconds" +%Y-%m-%dT%H:%M:%SZ)'"}'\n"""
    )
    source.chmod(0o755)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {source}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return json.dumps({"conn_type": "aws", "extra": {"region_name": REGION, "endpoint_url": aws.url}})


@pytest.fixture
def keys_used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Service and key of every request that is made from now on, and its token."""
    seen: list[tuple[str, str]] = []
    setup = BaseResponse.setup_class

    def noted(response: BaseResponse, request: Any, *arguments: Any, **named: Any) -> None:
        key, _, _, service, _ = request.headers["Authorization"].split("Credential=")[1].split(",")[0].split("/")
        # The test's own make buckets.
        if key != OWN_KEY:
            assert request.headers["X-Amz-Security-Token"] == key.replace("KEY", "TOKEN")
            seen.append((service, key))
        setup(response, request, *arguments, **named)

    monkeypatch.setattr(BaseResponse, "setup_class", noted)
    return seen


def test_the_keys_of_a_role_are_renewed_while_a_catalog_and_a_table_are_open(
    opened: Open, role: str, keys_used: list[tuple[str, str]]
) -> None:
    opened().create_tables()
    warehouse = opened(AIRFLOW_CONN_AWS_DEFAULT=role)
    table = warehouse.table(INTERACTIONS.name)
    keys_used.clear()

    for _ in range(2):
        assert not warehouse.missing_tables()
        assert table.io.new_input(table.metadata_location).exists()

    # One file system a bucket, however often the keys were renewed; no help of the garbage collector's.
    made = [weakref.ref(table.io.fs_by_scheme("s3", "bucket")) for _ in range(5)]  # type: ignore[attr-defined]
    assert [found() is not None for found in made] == [False, False, False, False, True]
    for service in ("glue", "s3"):
        keys = [key for asked, key in keys_used if asked == service]
        assert len(keys) == len(set(keys)) >= 2


@pytest.mark.long(but="^glue-s3$")
@pytest.mark.parametrize(("configured", "other"), [("s3", "glue"), ("glue", "s3")])
def test_configured_keys_go_before_those_of_a_role_and_for_nothing_else(
    opened: Open, role: str, keys_used: list[tuple[str, str]], configured: str, other: str
) -> None:
    keys = {"ACCESS_KEY_ID": "KEY-own", "SECRET_ACCESS_KEY": "s", "SESSION_TOKEN": "TOKEN-own"}
    names = {f"{CATALOG}{configured.upper()}__{name}": value for name, value in keys.items()}

    opened(AIRFLOW_CONN_AWS_DEFAULT=role, **names).create_tables()

    assert {key for service, key in keys_used if service == configured} == {"KEY-own"}
    assert "KEY-own" not in {key for service, key in keys_used if service == other}


class DeniedError(GlueClientError):
    def __init__(self) -> None:
        super().__init__("AccessDeniedException", "User ann is not authorized to perform: glue:GetTable")


def test_a_catalog_that_refuses_or_cannot_be_reached_says_what_to_do(
    opened: Open, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(_: GlueResponse) -> None:
        raise DeniedError

    warehouse = opened()
    for name in ("get_table", "get_tables", "create_database"):
        monkeypatch.setattr(GlueResponse, name, deny)
    for ask in (lambda: warehouse.table(INTERACTIONS.name), warehouse.missing_tables, warehouse.create_tables):
        with pytest.raises(TerminalSettingError, match=r"'perennial' refuses.*glue:GetTable.*PYICEBERG_CATALOG__PEREN"):
            ask()

    warehouse = opened(
        **{f"{CATALOG}GLUE__ENDPOINT": f"http://127.0.0.1:{free_port()}", f"{CATALOG}GLUE__MAX_RETRIES": "1"}
    )
    with pytest.raises(TransientError, match=r"'perennial' does not answer.*Could not connect"):
        warehouse.table(INTERACTIONS.name)


def test_a_number_of_retries_that_is_none_is_refused(opened: Open) -> None:
    with pytest.raises(TerminalSettingError, match=r"PYICEBERG_CATALOG__PERENNIAL__GLUE__MAX_RETRIES is 'few'.*number"):
        opened(**{f"{CATALOG}GLUE__MAX_RETRIES": "few"})


@pytest.mark.parametrize("on_aws", [True, False], ids=["AWS", "another service"])
def test_files_are_looked_for_in_the_region_of_their_bucket(
    opened: Open, aws: Aws, monkeypatch: pytest.MonkeyPatch, on_aws: bool
) -> None:
    # The service that is asked is AWS itself.
    monkeypatch.setattr(pyarrow.fs, "resolve_s3_region", lambda bucket: "eu-west-1")
    connection = json.loads(aws.connection)
    if on_aws:
        del connection["extra"]["endpoint_url"]

    warehouse = opened(AIRFLOW_CONN_AWS_DEFAULT=json.dumps(connection))

    files = load_file_io(warehouse.catalog.properties, f"s3://b{uuid.uuid4().hex}/archive")
    assert isinstance(files, PyArrowFileIO)
    found = files.fs_by_scheme("s3", f"b{uuid.uuid4().hex}")
    assert found.region == ("eu-west-1" if on_aws else REGION)
