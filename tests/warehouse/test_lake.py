"""The lake of the tests itself: tables on S3 through a REST catalog."""

from __future__ import annotations

import uuid

from perennial.tables import SOURCE_TAGS
from perennial.warehouse import Warehouse


def test_a_workspace_on_s3_has_every_table_and_takes_rows(lake_warehouse: Warehouse) -> None:
    rows = [{"source_id": "a/b 'c'", "tag": "été"}]
    lake_warehouse.append_rows(SOURCE_TAGS.name, rows, uuid.uuid4().hex)

    assert not lake_warehouse.missing_tables()
    assert lake_warehouse.read(SOURCE_TAGS.name).to_pylist() == rows
    assert lake_warehouse.table(SOURCE_TAGS.name).location().startswith("s3://lake/")
