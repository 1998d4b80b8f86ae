"""What makes tests fast and changes nothing that they test.

pyiceberg works out anew, for each file that it opens, what follows from the same few schemas, builds the same statement
for each look into a catalog, and parses a table's metadata at each look although no metadata file ever changes. Airflow checks the schema of a param at each look at the
param. And nothing here has to survive a power failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyiceberg.avro.file as avro
from jsonschema import Draft202012Validator
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import InputFile
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Identifier
from sqlalchemy import Engine, event, text


def make_fast() -> None:
    """Have this process, and those that are forked from it, waste no time."""
    _remember_schemas()
    _remember_metadata()
    _remember_the_catalogs_statement()
    _remember_valid_schemas()
    _flush_nothing()


def _remember_schemas() -> None:
    """Convert the schema in the header of an Avro file, and make a reader of it, once each."""
    schemas: dict[str, Schema] = {}
    convert = avro.AvroFileHeader.get_schema

    def get_schema(header: avro.AvroFileHeader) -> Schema:
        text = header.meta.get("avro.schema", "")
        if text not in schemas:
            schemas[text] = convert(header)
        return schemas[text]

    avro.AvroFileHeader.get_schema = get_schema  # type: ignore[method-assign]
    avro.resolve_reader = _remembered(avro.resolve_reader, 2)
    avro.construct_reader = _remembered(avro.construct_reader, 1)


def _remembered(make: Callable[..., Any], schemas: int) -> Callable[..., Any]:
    """Remember what is made from schemas, which are told apart by identity, and from dicts of types."""
    made: dict[Any, tuple[Any, Any]] = {}

    def remembering(*args: Any) -> Any:
        key = (*map(id, args[:schemas]), *(tuple(types.items()) for types in args[schemas:]))
        if key not in made:
            # With what it was made from: an address is used again once nobody holds what was there.
            made[key] = args, make(*args)
        return made[key][1]

    return remembering


def _remember_metadata() -> None:
    """Parse a table's metadata file on this disk once, unless it is another file by now."""
    parse = FromInputFile.table_metadata

    @lru_cache(200)
    def parsed(location: str, file: _SameFile) -> TableMetadata:
        return parse(file.input)

    def table_metadata(file: InputFile, *more: Any) -> TableMetadata:
        try:
            found = os.stat(file.location.removeprefix("file://"))  # noqa: PTH116 - a Path takes as long as the call
        except OSError:
            return parse(file, *more)
        metadata = parsed(file.location, _SameFile(file, (found.st_ino, found.st_mtime_ns, found.st_size)))
        # The properties of a loaded table are the one thing that is changed in place.
        return metadata.model_copy(update={"properties": dict(metadata.properties)})

    FromInputFile.table_metadata = table_metadata  # type: ignore[method-assign, assignment]


def _remember_the_catalogs_statement() -> None:
    """Look a table up in a SQL catalog by a statement that is built once: to build it takes longer than to run it."""
    found = (
        "SELECT * FROM iceberg_tables WHERE catalog_name = :catalog AND table_namespace = :space AND table_name = :name"
    )
    statements = {"v0": text(found), "v1": text(f"{found} AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)")}

    def load_table(catalog: SqlCatalog, identifier: str | Identifier) -> Table:
        space = catalog.namespace_to_string(catalog.namespace_from(identifier))
        name = catalog.table_name_from(identifier)
        with catalog.engine.connect() as connection:
            looked_up = {"catalog": catalog.name, "space": space, "name": name}
            row = connection.execute(statements[catalog._schema_version], looked_up).first()
        if row is None:
            raise NoSuchTableError(f"Table does not exist: {space}.{name}")
        return catalog._convert_orm_to_iceberg(row)  # type: ignore[arg-type]  # it has the same names

    SqlCatalog.load_table = load_table  # type: ignore[method-assign]


class _SameFile:
    """A file to be read, equal to one that was read before if nobody has written it since."""

    def __init__(self, file: InputFile, version: tuple[int, ...]) -> None:
        self.input, self.version = file, version

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameFile) and other.version == self.version

    def __hash__(self) -> int:
        return hash(self.version)


def _remember_valid_schemas() -> None:
    """Check a JSON schema against the one for schemas once: a fifth of a DAG run would be that."""
    check = Draft202012Validator.check_schema
    valid: set[str] = set()

    def check_schema(schema: object, *more: Any, **named: Any) -> None:
        text = repr((schema, more, named))
        if text not in valid:
            check(schema, *more, **named)
            valid.add(text)

    Draft202012Validator.check_schema = check_schema


def _flush_nothing() -> None:
    """Let the operating system write to the disk when it likes: a process that is killed loses nothing by that."""
    os.fsync = lambda _: None

    @event.listens_for(Engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        if "sqlite" in type(connection).__module__:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.close()
