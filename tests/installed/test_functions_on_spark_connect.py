"""Functions answer the same on Apache Spark's own Spark Connect server, and with the same types."""

from __future__ import annotations

import pytest

from tests.engines.test_functions import test_every_case_answers_on_spark_what_it_answers_in_process
from tests.spark import Spark


@pytest.fixture(scope="module")
def spark(spark_connect: Spark) -> Spark:
    return spark_connect
