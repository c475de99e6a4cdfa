"""What the suites of sources share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3 import CREDENTIALS, S3, running_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """An S3 endpoint."""
    with pytest.MonkeyPatch.context() as patch, running_s3() as made:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield made
