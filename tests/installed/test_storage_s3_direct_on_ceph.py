"""Copies of listed objects in one request, on Ceph's S3 gateway, which ignores `x-amz-copy-source-if-match`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perennial.storage.s3 import s3_storage
from tests.aws import Aws
from tests.test_storage_s3_direct import (
    Place,
    bad_days,
    place_in,
    test_a_connection_that_has_rested_for_long_is_not_used_again,
    test_an_etag_that_is_not_the_md5_of_the_content_proves_nothing,
    test_an_object_that_vanished_after_its_listing_is_said_to_be_absent,
    test_an_object_that_was_replaced_after_its_listing_is_not_taken_for_the_listed_one,
    test_behind_a_proxy_every_object_takes_the_careful_way,
    test_listed_objects_are_copied_in_one_request_each_and_boto3_makes_none_of_them,
    test_on_bad_days_both_ways_fail_and_every_object_is_copied,
    test_whatever_goes_wrong_on_the_direct_way_goes_through_boto3_and_succeeds,
)


@pytest.fixture
def aws(ceph: Aws) -> Aws:
    return ceph


@pytest.fixture
def place(ceph: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", ceph.connection)
    s3_storage.cache_clear()
    yield place_in(s3_storage(), ceph.bucket())
    s3_storage.cache_clear()
