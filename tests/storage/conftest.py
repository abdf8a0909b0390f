"""What the tests of leases share."""

import pytest
from buckets import LEASE, SKEW, Bucket

from safeupload.storage import BucketStorage


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Give a bucket, by whose clock everything goes."""
    made = Bucket()
    made.rule(monkeypatch)
    return made


@pytest.fixture
def storage(bucket: Bucket) -> BucketStorage:
    """Give a storage on the bucket."""
    return BucketStorage(bucket, lease=LEASE, skew=SKEW)
