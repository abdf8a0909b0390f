"""The uploads that an endpoint is checked with, and the answer that each has to get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final

from safeupload._image import normalize, validate
from safeupload._samples.catalogue import BENIGN, HOSTILE
from safeupload._samples.kinds import KINDS
from safeupload._samples.sample import Sample
from safeupload.errors import InvalidArgument, Rejected, TooLarge
from safeupload.policy import AVATAR, Policy

__all__ = ["SUCCESS", "EndpointCase", "endpoint_cases", "status_of"]

SUCCESS: Final = range(200, 300)
_SERVER_ERROR: Final = 500
#: What is served: a JPEG of any size that a policy can ask for.
_SERVED: Final = Policy(formats={"JPEG"}, max_bytes=1 << 30)
#: Above that, the uploads that are as large as allowed, and larger, are left out: each is held in memory.
_LARGEST: Final = 64 << 20
_MEDIA_TYPES: Final = {"jpg": "image/jpeg", "tif": "image/tiff", "svg": "image/svg+xml"}

#: Names and content types that say something else than the bytes do, and what is behind them.
_LIES: Final = (
    ("baseline.jpg", "../../../etc/passwd", "image/jpeg"),
    ("baseline.jpg", "picture.php", "application/x-php"),
    ("baseline.jpg", "picture.html", "text/html"),
    ("baseline.jpg", "picture", "application/octet-stream"),
    ("baseline.jpg", "l" * 250 + "ng.jpg", "image/jpeg"),
    ("baseline.jpg", "\u00fc\u043a\U0001f5bc.jpg", "image/jpeg"),
    ("rgb.png", "picture.jpg", "image/jpeg"),
    ("script.svg", "picture.jpg", "image/jpeg"),
    ("page.jpg", "picture.png", "image/png"),
    ("bitmap.bmp", "picture.gif", "image/gif"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class EndpointCase:
    """
    One upload, and the answer that it has to get.

    `name` is for the table and the identifier of a test, `about` says what the upload is. `filename` and `content_type`
    are what the client claims. `accepted` are the statuses for a picture, `refused` those for a refusal, None for the
    status of the error. `canaries` are bytes in the upload that may not be served, with what they are.
    """

    name: str
    about: str
    filename: str
    content_type: str
    make: Callable[[], bytes]
    policy: Policy
    accepted: Collection[int]
    refused: Collection[int] | None
    canaries: Mapping[bytes, str] = field(default_factory=dict[bytes, str])

    def __str__(self) -> str:
        """Return the name, for the identifiers of tests: ``ids=str``."""
        return self.name

    @cached_property
    def data(self) -> bytes:
        """The bytes of the upload."""
        return self.make()

    @property
    def file(self) -> tuple[str, bytes, str]:
        """File name, bytes and content type, as ``files=`` of httpx, requests and Starlette's client takes them."""
        return self.filename, self.data, self.content_type

    @cached_property
    def refusal(self) -> Rejected | None:
        """What the library says of these bytes under the policy: a refusal, or None."""
        try:
            validate(self.data, self.policy)
        except Rejected as error:
            return error.with_traceback(None)
        return None

    @property
    def expected(self) -> str:
        """Say which statuses are right, and why."""
        if self.refusal is None:
            return _said(self.accepted)
        return f"{_said(self._statuses)} ({self.refusal.code})"

    @property
    def _statuses(self) -> Collection[int]:
        if self.refusal is None:
            return self.accepted
        if self.refused is None:
            return [self.refusal.status]
        if isinstance(self.refusal, TooLarge):  # which may be said at the edge, before there is a form to show again
            return [*self.refused, self.refusal.status]
        return self.refused

    def is_right(self, status: int) -> bool:
        """Tell whether that is a right answer; one of the server's errors never is."""
        return status in self._statuses and status < _SERVER_ERROR

    def fault(self, served: bytes | None) -> str | None:
        """Say what is wrong with what is served of an upload that was taken, or None: it has to be its picture."""
        if not served:
            return "nothing"
        if served == self.data:
            return "the upload itself"
        left = [what for payload, what in self.canaries.items() if payload in served]
        if left:
            return left[0]
        try:
            info = validate(served, _SERVED)
        except Rejected as error:
            return f"no JPEG ({error.code})"
        made = normalize(self.data, self.policy)
        if (info.width, info.height) != (made.width, made.height):
            return f"{info.width} x {info.height} pixels, not {made.width} x {made.height}"
        return None

    def check(self, answer: object) -> None:
        """
        Raise `AssertionError` unless that is a right answer: a status, or the response of any usual client.

        Raises `InvalidArgument` if it has no status.
        """
        status = status_of(answer)
        if not self.is_right(status):
            raise AssertionError(f"{self.name}: {self.about}; expected {self.expected}, and was answered {status}")


def endpoint_cases(
    policy: Policy = AVATAR, *, accepted: Collection[int] = SUCCESS, refused: Collection[int] | None = None
) -> list[EndpointCase]:
    """
    Return the uploads to check an endpoint with: honest pictures of every kind, hostile files, lies, and sizes.

    Their bytes are made when they are asked for, and so is what the library says of them under the policy. To have one
    test for each::

        @pytest.mark.parametrize("case", endpoint_cases(POLICY), ids=str)
        def test_upload(client, case):
            case.check(client.post("/picture", files={"file": case.file}))

    Args:
        policy: that of the endpoint. If it takes more than 64 MiB, the uploads that are as large as allowed, and
            larger, are left out.
        accepted: the statuses for a picture that is taken: 2xx; a form that redirects has {302}, and a client that does
            not follow it.
        refused: the statuses for any refusal; None for that of each error (413, 415, 422); a form that is shown again
            has {200}. Besides, 413 is right for what is too large, since the limit may be at the edge.

    Raises:
        InvalidArgument: a status of 500 or above is called right, or one for taking and refusing alike; or the policy
            takes none of the small pictures in `BENIGN`.

    """
    for status in refused or ():
        if status in accepted:
            raise InvalidArgument(f"accepted and refused: {status} cannot tell the one from the other")
    for status in (*accepted, *(refused or ())):
        if status >= _SERVER_ERROR:
            raise InvalidArgument(f"accepted and refused: {status} is an error of the server's, never a right answer")
    plain = _plain(policy)
    make_case = partial(EndpointCase, policy=policy, accepted=accepted, refused=refused)
    samples = {**BENIGN, **HOSTILE}
    cases = [
        make_case(
            name=sample.name,
            about=sample.about,
            filename=sample.name,
            content_type=_media_type(sample.name),
            make=partial(getattr, sample, "data"),
            canaries=sample.canaries,
        )
        for sample in samples.values()
    ]
    for name, filename, content_type in _LIES:
        sample = samples[name]
        short = filename if len(filename) < 40 else f"{len(filename)} characters"  # noqa: PLR2004 - a matter of taste
        cases.append(
            make_case(
                name=f"{name} as {ascii(short)[1:-1]}",
                about=f"{sample.about}, as {filename!r} and {content_type}",
                filename=filename,
                content_type=content_type,
                make=partial(getattr, sample, "data"),
                canaries=sample.canaries,
            )
        )
    if policy.max_bytes <= _LARGEST:
        extension = plain.name.rpartition(".")[2]
        for name, more in (("as-large-as-allowed", 0), ("too-large", 1), ("far-too-large", 1 << 20)):
            size = policy.max_bytes + more
            cases.append(
                make_case(
                    name=f"{name}.{extension}",
                    about=f"{size:,} bytes, a {KINDS[plain.name].format} and zeros behind it",
                    filename=f"{name}.{extension}",
                    content_type=_media_type(plain.name),
                    make=partial(_padded, plain.name, size),
                )
            )
    return cases


def status_of(answer: object) -> int:
    """Return the status of a response, or the number that is one."""
    for status in (answer, getattr(answer, "status_code", None), getattr(answer, "status", None)):
        if isinstance(status, int):
            return status
    raise InvalidArgument(f"expected a status, or a response that has one, got a {type(answer).__name__}")


def _plain(policy: Policy) -> Sample:
    """Return the first picture that the policy takes; whatever its format, zeros behind it change nothing."""
    for sample in map(BENIGN.__getitem__, KINDS):
        try:
            validate(sample.data, policy)
        except Rejected:
            continue
        return sample
    raise InvalidArgument("policy: takes none of the honest pictures, so that an endpoint which refuses all would pass")


def _padded(name: str, size: int) -> bytes:
    return BENIGN[name].data.ljust(size, b"\0")[:size]


def _media_type(name: str) -> str:
    extension = name.rpartition(".")[2]
    return _MEDIA_TYPES.get(extension, f"image/{extension}")


def _said(statuses: Collection[int]) -> str:
    return "2xx" if statuses == SUCCESS else " or ".join(map(str, sorted(statuses))) or "nothing"
