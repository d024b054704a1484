"""Requests as bytes, and the answers as they came."""

import socket
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser


@dataclass(frozen=True)
class RawAnswer:
    """An answer: its status, its headers, and all that came behind them until the connection was closed."""

    status: int
    headers: Message
    rest: bytes


def exchange(port: int, request: bytes, host: str = "127.0.0.1") -> RawAnswer:
    """Send bytes and return the answer, once the server has closed the connection."""
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    line, _, headers = head.partition(b"\r\n")
    return RawAnswer(int(line.split(b" ")[1]), BytesParser().parsebytes(headers), rest)


def get(target: str, *headers: str) -> bytes:
    """Return a request that closes the connection, with exactly these headers beside."""
    return "\r\n".join([f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]).encode("latin-1")
