"""PERENNIAL_ENGINE_URL and what goes with it: what it takes, and what it says to the rest before anything is asked."""

from __future__ import annotations

import pytest

from perennial.errors import TerminalSettingError
from perennial.settings import Settings

ATHENA = "awsathena+rest://key:secret@athena.eu-west-1.amazonaws.com:443/messaging?s3_staging_dir=s3://results"


def engine_url(url: str) -> str:
    return Settings.from_environment({"PERENNIAL_ENGINE_URL": url}).engine_url


@pytest.mark.parametrize("url", ["duckdb://", "sc://host:15002", "sc://host/;token=t", "trino://me@host/lake", ATHENA])
def test_an_engine_that_can_be_called_from_here_is_taken(url: str) -> None:
    assert engine_url(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sc://", "PERENNIAL_ENGINE_URL is 'sc://'; set it to sc://host:port"),
        ("sc:///;token=secret", "PERENNIAL_ENGINE_URL is 'sc://'; set it to sc://host:port"),
        ("spark", r"is 'spark'; set it to duckdb://, sc://host:port, or a SQLAlchemy URL \(awsathena://…, trino://…\)"),
        ("postgresql://me:secret@host/db", r"is 'postgresql://me:\*\*\*@host/db'; set it to duckdb://"),
        ("trino+none://me:secret@host/lake", r"is 'trino\+none://me:\*\*\*@host/lake'; .* pip install 'trino"),
    ],
)
def test_another_is_refused_with_what_to_do_and_without_its_secret(url: str, said: str) -> None:
    with pytest.raises(TerminalSettingError, match=said) as caught:
        engine_url(url)
    assert "secret" not in str(caught.value)
