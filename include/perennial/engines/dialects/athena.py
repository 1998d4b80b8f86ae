"""Athena, engine version 3: Trino's SQL, as far as statements here go: SELECT, and INSERT of one."""

from __future__ import annotations

from dataclasses import replace

from perennial.engines.dialects.trino import TRINO

ATHENA = replace(TRINO, name="athena")
