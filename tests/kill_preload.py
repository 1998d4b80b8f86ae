"""Everything that a killed process needs, imported once by the server that it is forked from."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import duckdb  # noqa: F401
    import pandas as pd  # noqa: F401
    import pyarrow.acero
    import pyarrow.dataset  # noqa: F401
    import pyiceberg.catalog.rest
    import pyiceberg.catalog.sql
    import pyiceberg.io.pyarrow  # noqa: F401
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    import perennial.currents
    import perennial.drills.inline
    import perennial.moves
    import perennial.moves.recovery
    import perennial.quality
    import perennial.storage.s3

    # The first use of any mapped class has Airflow import all of its models; the first check, what it is made of.
    configure_mappers()
    perennial.quality.check_load([])

    from tests.fast import make_fast

    make_fast()
