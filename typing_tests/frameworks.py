"""What the frameworks hand out is a source, by their own types."""

from typing import Annotated, assert_type

import fastapi
import flask
import litestar
import starlette.datastructures
import starlette.requests
from litestar.datastructures import UploadFile as LitestarUploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body
from sync_uploads import uploads
from werkzeug.datastructures import FileStorage

import safeupload
from safeupload.asgi import BodyLimit

app = fastapi.FastAPI()
app.add_middleware(BodyLimit, routes={"/banner": 10 << 20})
service = flask.Flask(__name__)


@app.post("/picture")
async def fastapi_picture(file: fastapi.UploadFile) -> fastapi.Response:
    """FastAPI."""
    picture = await safeupload.normalize_async(file)
    return fastapi.Response(picture.data, media_type=picture.media_type)


@app.exception_handler(safeupload.Rejected)
async def refused(_: fastapi.Request, error: Exception) -> fastapi.Response:
    """Answer what is refused."""
    if not isinstance(error, safeupload.Rejected):
        raise error
    return fastapi.responses.JSONResponse(error.problem(), error.status)


async def starlette_picture(request: starlette.requests.Request) -> None:
    """Starlette: a field of the form may be a text as well, which is no source; a whole body is one."""
    file = (await request.form())["file"]
    await safeupload.normalize_async(file)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    if isinstance(file, starlette.datastructures.UploadFile):
        await safeupload.normalize_async(file)
    await safeupload.normalize_async(request.stream())


@litestar.post("/picture")
async def litestar_picture(
    data: Annotated[LitestarUploadFile, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> bytes:
    """Litestar."""
    return (await safeupload.normalize_async(data)).data


@service.post("/picture")
def flask_picture() -> flask.Response:
    """Flask."""
    upload = assert_type(flask.request.files["file"], FileStorage)
    picture = safeupload.normalize(upload)
    with uploads.replace(upload) as new:
        new.abort()
    return flask.Response(picture.data, mimetype=picture.media_type)
