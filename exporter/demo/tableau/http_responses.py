"""HTTP responses as bytes, and the pages of programs that answer in a server's place."""

import functools
import zlib
from http import HTTPStatus
from xml.etree import ElementTree as ET

from exporter.demo.tableau.calls import Answer

LOGIN_PAGE = (
    b'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Sign in</title></head><body><h1>Sign in</h1>'
    b'<form action="/login" method="post"><input name="username" type="text"/>'
    b'<input name="password" type="password"/><input type="submit" value="Sign in"/></form></body></html>'
)
MISSING_PAGE = b"<html><head><title>404</title></head><body><p>There is no such page<br></p></body></html>"
GARBAGE = b"\x00\xff\xfe neither XML nor JSON \x1f\x8b"
BUSY_PAGE = b"<html><head><title>503</title></head><body><p>The service is unavailable<br></p></body></html>"

TOO_LARGE_PAGE = b"<html><head><title>413</title></head><body><h1>Request Entity Too Large<br></h1></body></html>"

BOMB_ELEMENTS = 60_000_000


@functools.cache
def bomb(kind: str) -> Answer:
    """Make an answer of a few hundred kB that holds 60 million empty elements once it is decompressed."""
    begin, element = (
        (b'{"data": [', b"[],")
        if kind == "metadata"
        else (b'<tsResponse xmlns="http://tableau.com/api"><workbooks>', b"<a/>")
    )
    gzip = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    pieces = [gzip.compress(begin), *(gzip.compress(element * 1_000_000) for _ in range(BOMB_ELEMENTS // 1_000_000))]
    return Answer(200, b"".join((*pieces, gzip.flush())), headers=(("Content-Encoding", "gzip"),))


def head(answer: Answer, length: int | None) -> bytes:
    """Write the head of an answer; without a length, it ends with the connection."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Type: {answer.type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines.append("Connection: close" if length is None else f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def site_granted(answer: Answer) -> str | None:
    """Name the site that an answer to a sign-in grants."""
    if answer.status != HTTPStatus.OK:
        return None
    try:
        site = ET.fromstring(answer.body).find(".//{*}site")  # noqa: S314 - our own words
    except ET.ParseError:
        return None
    return site.get("contentUrl") if site is not None else None
