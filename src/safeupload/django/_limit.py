"""A limit on what Django receives, that ends the receiving."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn, Protocol, cast

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParser
from django.utils.datastructures import MultiValueDict

from safeupload._body import FRAME, GRACE, Limits
from safeupload.errors import TooLarge
from safeupload.policy import AVATAR

__all__ = ["BodyLimitUploadHandler"]


class BodyLimitUploadHandler(FileUploadHandler):  # type: ignore[misc]  # Django has no types of its own
    """
    The upload handler to put before Django's own, so that a body that is too large is not received.

    Django's settings have limits for everything but files. This belongs there, and not in a view, since the middleware
    for CSRF reads the form first::

        FILE_UPLOAD_HANDLERS = ["safeupload.django.BodyLimitUploadHandler", *global_settings.FILE_UPLOAD_HANDLERS]

    Of a body that is too large, by its Content-Length, the fields before the first file are read, so that a token
    against CSRF counts. In the place of files, ``request.FILES`` has one whose reading raises `TooLarge`: what handles
    a rejected picture, a form's field or an exception's handler, handles this as well. A body that is up to 3 MiB too
    large is received to its end and thrown away, so that the client gets to read the answer; of a larger one nothing
    more is, and the server closes the connection.

    Other limits are those of a subclass, whose own path then stands in the settings:

    `max_bytes`
        The largest file. A body may have 64 KiB more, for the frame of the form.
    `routes`
        Other limits for some paths, such as ``{"/users/*/banner": 10 * 1024 * 1024}``; a ``*`` stands for one segment.
    """

    max_bytes: ClassVar[int] = AVATAR.max_bytes
    routes: ClassVar[Mapping[str, int]] = {}

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self._limit = Limits(self.max_bytes, self.routes).of(request.path_info if request else "/")
        self._stopping = False

    def handle_raw_input(  # pyright: ignore[reportIncompatibleMethodOverride]  # the stubs call the boundary a str
        self,
        input_data: _Readable,
        META: dict[str, Any],  # noqa: N803 - Django's name
        content_length: int,
        boundary: bytes,  # noqa: ARG002
        encoding: str | None = None,
    ) -> tuple[QueryDict, MultiValueDict[str, UploadedFile[Any]]] | None:
        """Leave a body within the limit to Django, and take of another one what comes before its first file."""
        most = self._limit + FRAME
        if self._stopping or content_length <= most:
            return None
        self._stopping = True
        head: Any = _Head(input_data)  # which has all that Django calls
        post, _ = MultiPartParser(META, head, [self], encoding).parse()
        if content_length <= most + GRACE:
            while input_data.read(self.chunk_size):
                pass
        return post, _Files({self.field_name: [_TooLargeFile(self._limit)]})

    def new_file(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Django's
        """Note the name of the field; stop if this body is not to be received."""
        super().new_file(*args, **kwargs)
        if self._stopping:
            raise StopUpload(connection_reset=True)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:  # noqa: ARG002 - Django's
        """Pass the chunk on to the next handler."""
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave the file to the next handler."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Head:
    """The beginning of a body that is too large: what a form may have before its first file."""

    def __init__(self, body: _Readable) -> None:
        self._body = body
        self._read = 0

    def read(self, size: int) -> bytes:
        """Return bytes; refuse if there was no file in the first ones. Django answers that with 400."""
        if self._read >= FRAME:
            raise RequestDataTooBig("The body is too large, and no file is in its beginning.")
        data = self._body.read(size)
        self._read += len(data)
        return data


class _Files(MultiValueDict[str, "UploadedFile[Any]"]):  # type: ignore[misc]
    """The files of a body that was too large: the first by its name, and the others, which were never seen, by any."""

    def __missing__(self, _: str) -> list[UploadedFile[Any]]:
        return [cast("UploadedFile[Any]", next(iter(self.values())))]


class _TooLargeFile(UploadedFile):  # type: ignore[misc]  # pyright: ignore[reportMissingTypeArgument]  # likewise
    """In the place of a file that was not received."""

    def __init__(self, limit: int) -> None:
        file: Any = _TooLargeStream(limit)
        super().__init__(file=file, name="too-large", size=limit + 1)  # pyright: ignore[reportUnknownMemberType]  # generic in the stubs alone


class _TooLargeStream(io.RawIOBase):
    def __init__(self, limit: int) -> None:
        self._error: Final = TooLarge(limit)

    def readable(self) -> bool:
        return True

    def readinto(self, _: object, /) -> NoReturn:
        raise self._error
