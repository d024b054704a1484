"""Malformed requests with a secret, and sections of a configuration in which a secret is misplaced."""

import base64
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress

import httpx

from tests.end_to_end.canaries import FORMS
from tests.support.wait import PATIENCE_SECONDS


def malformed(user: str, password: str) -> Iterator[bytes]:
    """Yield requests with the right password, none of which is valid."""
    pair = FORMS["a pair"](password)
    proof = f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    head = f"HTTP/1.1\r\nHost: a\r\n{proof}Connection: close\r\n"
    yield f"GET /nothing/here {head}\r\n".encode()
    yield f"GET / {head}Content-Length: zz\r\n\r\n".encode()
    yield f"POST /-/reload {head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    yield f"GET /\r\n{proof}\r\n".encode()
    yield f"{proof}\r\n\r\n".encode()
    yield f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {pair}x{pair}\r\nConnection: close\r\n\r\n".encode()
    yield f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Digest {password}\r\nConnection: close\r\n\r\n".encode()
    yield b"\x16\x03\x01\x02\x00" + password.encode() + b"\r\n\r\n"


def misplaced(values: Mapping[str, str]) -> dict[str, object]:
    """Return sections in which each secret stands at a wrong key or with a wrong type."""
    repository, rest, alertmanager, publishing, activity = values.values()
    return {
        "repository": {
            "hosts": [f"readonly:{repository}@127.0.0.1:1", repository],
            "password": [repository],
            "sslmode": repository,
            "poll_interval": repository,
            "sslrootcert": repository,
        },
        "rest": {
            "url": f"https://agent:{rest}@127.0.0.1:1",
            "token_value": {"value": rest},
            "token_value_file": rest,
            "sites": [rest, rest],
            "connected_app": rest,
        },
        "alertmanager": {
            "urls": [f"http://me:{alertmanager}@127.0.0.1:1", f"http://127.0.0.1:1/?{alertmanager}"],
            "bearer_token": [alertmanager],
            "basic_auth": {"username": "me", "password": {"": alertmanager}, "passwrod": alertmanager},
        },
        "activity_log": {
            "url": f"https://agent:{activity}@127.0.0.1:1",
            "token_value": [activity],
            "token_value_file": activity,
            "sites": [activity, activity],
            "poll_interval": activity,
            "duration_unit": activity,
        },
        "exports": [
            {
                "format": publishing,
                "table": publishing,
                "output": f"s3://me:{publishing}@bucket/folder",
                "every": publishing,
                "publish": {"token_value": {"": publishing}, "token_value_file": publishing, "tokenvalue": publishing},
            },
            publishing,
        ],
    }


def exchange(url: httpx.URL, request: bytes) -> bytes:
    """Send bytes; return the answer until its end."""
    answer = b""
    with socket.create_connection((url.host, url.port or 0), PATIENCE_SECONDS) as connection, suppress(OSError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while received := connection.recv(65_536):
            answer += received
    return answer
