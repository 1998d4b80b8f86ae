"""The contract of every engine, on Apache Spark's own Spark Connect server."""

from __future__ import annotations

import pytest

from perennial.warehouse import Warehouse
from tests.engines.test_contract import (
    filled,
    session,
    test_a_bind_is_a_value_whatever_it_looks_like,
    test_a_list_is_bound_element_by_element,
    test_a_statement_of_an_analyst_is_sent_as_it_is_with_tables_and_views_in_place,
    test_a_statement_that_cannot_be_run_is_refused_with_its_reason,
    test_a_value_that_was_not_given_is_named,
    test_nothing_has_its_columns_all_the_same,
    test_statements_that_are_kept_have_binds_of_their_own,
    test_times_are_utc_to_the_microsecond_and_go_back_to_the_first_year,
    test_values_come_back_as_they_were_given,
    test_what_a_table_holds_comes_back_as_it_is,
    test_what_the_rows_do_not_allow_is_refused_and_not_tried_again,
)
from tests.installed.spark_connect import asking
from tests.spark import Spark


@pytest.fixture(scope="module")
def asked(module_warehouse: Warehouse, spark_connect: Spark) -> Warehouse:
    return asking(spark_connect, filled(module_warehouse))
