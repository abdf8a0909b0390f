"""How an upload becomes the picture that is stored: what an `Uploads` was told of it, in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from safeupload._checks import AsyncCheck, Check, known
from safeupload._image import NormalizedImage, normalize, normalize_async
from safeupload._source import AsyncSource, Source
from safeupload._workers import WorkerProcesses
from safeupload.errors import NotChecked
from safeupload.policy import Policy

__all__ = ["Intake"]


class Intake:
    """A policy, where to decode, and the application's checks."""

    def __init__(
        self, policy: Policy, decoder: WorkerProcesses | None, checks: Iterable[AsyncCheck], *, may_be_async: bool
    ) -> None:
        self.policy = policy
        self._decoder = decoder
        if decoder is not None:
            decoder.check(policy)
        self._checks = known(checks, may_be_async=may_be_async)

    def take(self, source: Source | NormalizedImage) -> NormalizedImage:
        """Return the picture of an upload, or the one that is given."""
        picture = self._carried(source)
        if picture is not None:
            return picture
        checks = cast("tuple[Check, ...]", self._checks)  # as they were when this was made for plain functions
        return normalize(cast("Source", source), self.policy, decoder=self._decoder, checks=checks)

    async def take_async(self, source: AsyncSource | NormalizedImage) -> NormalizedImage:
        """Do what `take` does."""
        picture = self._carried(source)
        if picture is not None:
            return picture
        return await normalize_async(
            cast("AsyncSource", source), self.policy, decoder=self._decoder, checks=self._checks
        )

    def _carried(self, source: object) -> NormalizedImage | None:
        """Return the picture that the source is, or that it carries as the value of a form's field in Django does."""
        picture = getattr(source, "normalized", source)
        if not isinstance(picture, NormalizedImage):
            return None
        if any(check not in picture.checks for check in self._checks):
            raise NotChecked
        return picture
