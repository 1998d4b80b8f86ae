"""The files of the package that are not Python: statements, DAGs, templates, prices.

An installed package holds all of them. In a checkout the statements and the DAGs lie in folders of their own.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

# Folder of the installed package -> folder of the checkout.
_IN_A_CHECKOUT = {"sql": "include/sql", "dags": "dags"}


@cache
def checkout() -> Path | None:
    """Return the root of the checkout that the package runs from; None where it is installed."""
    package = _package()
    root = package.parents[1]
    return root if package == root / "include" / "perennial" and (root / "pyproject.toml").is_file() else None


def resource(name: str) -> Path:
    """Return a file or a folder of the package.

    Args:
        name: Its path below the package, as a wheel has it, with `/` between the parts.
    """
    top, _, rest = name.partition("/")
    root = checkout()
    if root is not None and top in _IN_A_CHECKOUT:
        return root / _IN_A_CHECKOUT[top] / rest
    return _package() / name


def _package() -> Path:
    # The package is never imported from an archive, so what it holds are files.
    return Path(str(files("perennial")))
