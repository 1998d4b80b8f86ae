"""What pyiceberg works out anew for each Avro file, remembered: tests read thousands of files of the same few schemas.

Only what follows from a schema alone is remembered; no file, table or snapshot is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyiceberg.avro.file as avro
from pyiceberg.schema import Schema


def remember_schemas() -> None:
    """Have this process convert the schema in a header of an Avro file, and make a reader of it, once each."""
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
