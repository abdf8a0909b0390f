"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError

import safeupload

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
PAGES = ("/admin/", "/form/")  # for people, who are not shown documents
STATUS = {MultiPartParserError: 400, PermissionDenied: 403, Http404: 404, RequestDataTooBig: 413}


def problem(document: dict[str, Any], headers: dict[str, str] | None = None) -> HttpResponse:
    """Return a problem document, which no cache keeps: the picture may be there in a moment."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JsonResponse(document, status=document["status"], headers=headers, content_type=MEDIA_TYPE)


def described(status: int, detail: str, **more: object) -> dict[str, Any]:
    """Return the members of a problem document."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}


class ProblemMiddleware:
    """Answers what views raise, for safeupload and for Django."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Put a document in the place of Django's own pages: for a wrong address, a wrong method."""
        response = self.get_response(request)
        is_error = 400 <= response.status_code < 500  # noqa: PLR2004
        if not is_error or response["Content-Type"] == MEDIA_TYPE or request.path_info.startswith(PAGES):
            return response
        status = HTTPStatus(response.status_code)
        kept = {"Allow": response["Allow"]} if "Allow" in response else {}
        return problem(described(status, status.description or status.phrase), kept)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer for an error, or none, which makes it a 500. A `Misuse` is a bug, and so it should be."""
        if isinstance(error, safeupload.Rejected | safeupload.Unavailable):
            if error.status >= 500:  # noqa: PLR2004
                logger.error("the storage failed", exc_info=error)
            return problem(error.problem())
        if request.path_info.startswith(PAGES):
            return None
        if isinstance(error, ValidationError):
            fields = error.message_dict.items()
            errors = [{"field": field, "detail": detail} for field, details in fields for detail in details]
            return problem(described(422, "The request is not valid.", errors=errors))
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), None)
        return problem(described(status, str(error))) if status else None
