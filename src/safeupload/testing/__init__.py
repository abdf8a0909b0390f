"""
For tests: of an application that takes uploads, and of a storage of your own.

- `picture` makes a small, honest picture; `BENIGN` and `HOSTILE` are files to try, by their names.
- `check_endpoint` uploads them all to an endpoint of yours; `endpoint_cases` has them for one test each.
- `FaultyStorage`, `Database` and `losing_reply` let a storage and a commit fail as they do in earnest.
- `StorageContract` has the tests of a storage of your own.

Nothing here is imported by the library, and nothing here needs a test framework. `safeupload.testing.strategies` needs
Hypothesis, and `safeupload.testing.plugin` pytest: the extra ``testing`` brings both.
"""

from safeupload._samples.catalogue import BENIGN, HOSTILE
from safeupload._samples.kinds import picture
from safeupload._samples.sample import Sample
from safeupload.testing._cases import EndpointCase, endpoint_cases
from safeupload.testing._contract import StorageContract
from safeupload.testing._database import (
    CommitOutcome,
    CommitRefused,
    ConnectionLost,
    Database,
    Session,
    losing_reply,
)
from safeupload.testing._endpoint import EndpointReport, EndpointResult, check_endpoint, check_endpoint_async
from safeupload.testing._faults import FaultyCall, FaultyStorage

__all__ = [
    "BENIGN",
    "HOSTILE",
    "CommitOutcome",
    "CommitRefused",
    "ConnectionLost",
    "Database",
    "EndpointCase",
    "EndpointReport",
    "EndpointResult",
    "FaultyCall",
    "FaultyStorage",
    "Sample",
    "Session",
    "StorageContract",
    "check_endpoint",
    "check_endpoint_async",
    "endpoint_cases",
    "losing_reply",
    "picture",
]
