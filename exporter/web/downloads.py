"""CSV and JSON downloads of the pages' lists, written while they are sent."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus

from starlette.responses import JSONResponse, Response, StreamingResponse

from exporter.tabular import Cell, csv_lines, in_parts, json_lines
from exporter.texts import UNKNOWN
from exporter.web.templating import instant

Lines = Callable[[Sequence[str], Iterable[Sequence[Cell]]], Iterator[str]]

_LINES: Mapping[str, Lines] = {"csv": csv_lines, "json": json_lines}
_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "json": "application/json"}


def download(name: str, form: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> StreamingResponse:
    """Return a list in one of the forms ``csv`` and ``json``; a browser stores CSV under the name."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'} if form == "csv" else {}
    return StreamingResponse(in_parts(_LINES[form](head, rows)), media_type=_TYPES[form], headers=headers)


def refusal(line: str) -> Response:
    """Return an error as JSON, for a program that requested JSON."""
    return JSONResponse({"error": line}, HTTPStatus.BAD_REQUEST)


def at(seconds: float | None) -> str | None:
    """Return an instant as a cell; None where it is not known."""
    if seconds is None or math.isnan(seconds):
        return None
    written = instant(seconds)
    return None if written == UNKNOWN else written
