"""A form field for pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils.asyncio import async_unsafe

from safeupload._checks import Check, known
from safeupload._image import NormalizedImage, normalize
from safeupload._keys import new_key
from safeupload._workers import WorkerProcesses
from safeupload.errors import InvalidArgument, Rejected
from safeupload.policy import AVATAR, Policy

__all__ = ["PictureField", "PictureFile"]

_MEDIA_TYPES: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heic,image/heif",
}


class PictureFile(SimpleUploadedFile):  # type: ignore[misc]  # Django has no types of its own
    """
    What `PictureField` gives: a file of Django with the clean picture in it, and the picture as `normalized`.

    Its name is a fresh key of ours, not the client's. ``uploads.replace`` and ``tx.save`` take it as it is, without
    normalizing once more; so does a model's ``FileField`` or ``ImageField``, which stores it where Django does.
    """

    normalized: NormalizedImage

    def __init__(self, normalized: NormalizedImage) -> None:
        super().__init__(new_key(), normalized.data, normalized.media_type)
        self.normalized = normalized


class PictureField(forms.FileField):  # type: ignore[misc]
    """
    A form field, also for the admin, that takes pictures and nothing else; its value is a `PictureFile`.

    An upload that is no picture of the policy is a `ValidationError` at the field, with the code and the text of the
    rejection. `error_messages` replaces the text of a code, for a translation::

        PictureField(error_messages={"too_large": _("At most %(limit)d bytes, please.")})

    Decoding takes a moment, so in an async view ``await sync_to_async(form.is_valid)()``; Django's own
    ``SynchronousOnlyOperation`` says so to whoever forgets it.

    Args:
        policy: what uploads may be, and what becomes of them.
        decoder: where uploads are decoded: here, or in `WorkerProcesses`.
        checks: called with each upload and its picture, to refuse it; those of the `Uploads` that stores it, at least.
        **options: those of Django's ``forms.FileField``.

    """

    def __init__(
        self,
        *,
        policy: Policy = AVATAR,
        decoder: WorkerProcesses | None = None,
        checks: Iterable[Check] = (),
        **options: Any,  # noqa: ANN401 - Django's
    ) -> None:
        if not isinstance(policy, Policy):
            raise InvalidArgument(f"policy: expected a Policy, got {type(policy).__name__}")
        self.policy = policy
        self._decoder = decoder
        self._checks = known(checks, may_be_async=False)
        super().__init__(**options)

    def to_python(self, data: Any) -> PictureFile | None:  # noqa: ANN401 - Django's
        """Return the clean picture, or none if nothing was submitted."""
        upload = super().to_python(data)
        return None if upload is None else self._checked(upload)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Let the file chooser of the browser offer what the policy takes; it is a help and no check."""
        attributes: dict[str, Any] = super().widget_attrs(widget)
        if isinstance(widget, forms.FileInput) and "accept" not in widget.attrs:
            attributes["accept"] = ",".join(_MEDIA_TYPES[name] for name in sorted(self.policy.formats))
        return attributes

    @async_unsafe(  # type: ignore[untyped-decorator]
        "A picture is decoded here, which would hold the event loop; use sync_to_async."
    )
    def _checked(self, upload: Any) -> PictureFile:  # noqa: ANN401 - whatever the form was given
        try:
            return PictureFile(normalize(upload, self.policy, decoder=self._decoder, checks=self._checks))
        except Rejected as error:
            if error.code in self.error_messages:
                raise ValidationError(self.error_messages[error.code], error.code, error.problem()) from error
            raise ValidationError(str(error), error.code) from error
