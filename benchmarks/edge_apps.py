"""The applications that edge.py sends its bodies to: as tutorials write them, and with the limits we recommend."""

import functools
from typing import Any

LIMIT = 5 << 20


def fastapi(*, limited: bool) -> Any:  # noqa: ANN401 - an ASGI application
    """Return an endpoint of FastAPI that looks at the size of a file."""
    from fastapi import FastAPI, HTTPException, UploadFile  # noqa: PLC0415

    from safeupload.asgi import BodyLimit  # noqa: PLC0415

    app = FastAPI()
    if limited:
        app.add_middleware(BodyLimit)

    @app.post("/")
    async def post(file: UploadFile) -> int:
        data = await file.read()
        if len(data) > LIMIT:
            raise HTTPException(413)
        return len(data)

    return app


def flask(*, limited: bool) -> Any:  # noqa: ANN401 - a WSGI application
    """Return a view of Flask that looks at the size of a file."""
    from flask import Flask, abort, request  # noqa: PLC0415

    app = Flask(__name__)
    if limited:
        app.config["MAX_CONTENT_LENGTH"] = LIMIT + (64 << 10)

    @app.post("/")
    def post() -> str:
        data = request.files["file"].read()
        if len(data) > LIMIT:
            abort(413)
        return str(len(data))

    return app


def django(*, limited: bool, asynchronous: bool) -> Any:  # noqa: ANN401 - a WSGI or ASGI application
    """Return a view of Django that looks at the size of a file."""
    from django.conf import global_settings, settings  # noqa: PLC0415

    handlers = list(global_settings.FILE_UPLOAD_HANDLERS)
    if limited:
        handlers.insert(0, "safeupload.django.BodyLimitUploadHandler")
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], FILE_UPLOAD_HANDLERS=handlers, SECRET_KEY="-")  # noqa: S106

    from django.core.asgi import get_asgi_application  # noqa: PLC0415
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415

    from safeupload.asgi import BodyLimit  # noqa: PLC0415

    if not asynchronous:
        return get_wsgi_application()
    return BodyLimit(get_asgi_application()) if limited else get_asgi_application()


def addresses() -> list[Any]:
    """Return where Django finds its one view."""
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    from safeupload import TooLarge  # noqa: PLC0415

    def post(request: HttpRequest) -> HttpResponse:
        if "file" not in request.FILES:
            return HttpResponse(status=422)
        try:
            data = request.FILES["file"].read()
        except TooLarge as error:
            return HttpResponse(status=error.status)
        return HttpResponse(len(data), status=413 if len(data) > LIMIT else 200)

    return [path("", post)]


@functools.cache  # servers ask more than once
def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Make an application when a server asks for it by name."""
    kind, _, how = name.partition("_")
    limited = how == "limited"
    if name == "urlpatterns":
        return addresses()
    if kind == "fastapi":
        return fastapi(limited=limited)
    if kind == "flask":
        return flask(limited=limited)
    if kind in {"django", "asgidjango"}:
        return django(limited=limited, asynchronous=kind == "asgidjango")
    raise AttributeError(name)
