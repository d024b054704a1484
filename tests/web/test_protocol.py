"""Bodies are not copied on their way to the socket."""

from typing import Any

import h11

from exporter.web.protocol import HEAD_BYTES, ServerConnection


def test_a_body_is_handed_on_as_it_is() -> None:
    """Heads are bytes, a body is the very object that was given, and an end without trailers is empty."""
    connection = ServerConnection(HEAD_BYTES)
    connection.receive_data(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    head = connection.send(h11.Response(status_code=200, headers=[("Content-Length", "6")]))
    assert isinstance(head, bytes)
    assert head.startswith(b"HTTP/1.1 200")
    part: Any = memoryview(b"series")  # as uvicorn hands it on
    sent: Any = connection.send(h11.Data(data=part))
    assert sent is part
    assert connection.send(h11.EndOfMessage()) == b""
    assert connection.send(h11.ConnectionClosed()) is None


def test_chunks_are_framed() -> None:
    """A body of unknown length has its sizes before its parts."""
    connection = ServerConnection(HEAD_BYTES)
    connection.receive_data(b"GET /assets.csv HTTP/1.1\r\nHost: agent\r\n\r\n")
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[]))
    assert connection.send(h11.Data(data=b"a,b\n")) == b"4\r\na,b\n\r\n"
