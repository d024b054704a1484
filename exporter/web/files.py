"""The files of ``static/``, read once; each address carries a digest, so that a browser keeps it until it changes."""

import hashlib
from importlib import resources
from mimetypes import guess_type

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class StaticFiles:
    """Everything in ``static/``, in memory."""

    def __init__(self) -> None:
        folder = resources.files("exporter.web") / "static"
        self._contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def address(self, name: str) -> str:
        """Return where a page finds a file."""
        return f"/static/{name}?v={hashlib.sha256(self._contents[name]).hexdigest()[:12]}"

    async def answer(self, request: Request) -> Response:
        """Answer a request for one file."""
        name = request.path_params["name"]
        if name not in self._contents:
            raise HTTPException(404)
        media_type, _ = guess_type(name)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self._contents[name], headers=headers, media_type=media_type)
