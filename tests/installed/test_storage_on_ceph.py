"""What every storage keeps to, on Ceph's S3 gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from perennial.storage.s3 import s3_storage
from tests.aws import Aws
from tests.test_storage import (
    finished,
    storage,
    test_a_checksum_is_that_of_the_content,
    test_a_copy_replaces_what_is_at_the_address,
    test_a_directory_does_not_list_its_siblings,
    test_a_file_goes_from_a_disk_to_any_storage_and_back,
    test_an_absent_file_is_not_uploaded_and_leaves_what_was_there,
    test_an_address_is_literal_whatever_characters_it_holds,
    test_an_empty_file_is_a_file,
    test_an_upload_replaces_what_is_at_the_address,
    test_an_uploaded_file_is_there_whole_also_when_the_local_one_is_gone,
    test_files_are_listed_together_only_where_that_takes_fewer_requests,
    test_more_files_than_a_page_holds_are_all_listed,
    test_uploading_the_same_file_again_leaves_one,
    test_what_is_absent_is_said_to_be_so,
    test_what_lies_in_no_cold_class_can_be_read_at_once,
)


@pytest.fixture
def place(ceph: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", ceph.connection)
    s3_storage.cache_clear()
    yield f"s3://{ceph.bucket()}/{uuid.uuid4().hex}"
    s3_storage.cache_clear()
