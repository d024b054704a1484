"""HTTP/1.1 as h11 has it, with what RFC 9112 asks for beyond it and with security headers on every answer.

Bodies go to the socket as they are: h11 itself would copy each part of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from h11 import SERVER, Connection, Event, Request, Response

from exporter.web.headers import with_security_headers
from exporter.web.rfc9112 import checked


class PassingConnection(Connection):
    """The server's side of a connection; ``headers`` returns the configured headers of an answer."""

    def __init__(self, max_incomplete_event_size: int, headers: Callable[[], Mapping[str, str]] = dict) -> None:
        super().__init__(SERVER, max_incomplete_event_size)
        self._headers = headers

    def next_event(self) -> Any:  # noqa: ANN401 - an event, or what h11 has instead of one
        """Return what comes next from the client. Raises h11.RemoteProtocolError where that is no valid request."""
        event = super().next_event()
        return checked(event) if isinstance(event, Request) else event

    def send(self, event: Event) -> bytes | None:  # type: ignore[override] # as h11 has it, without its overloads
        """Return what is to be sent for an event, None where the connection ends; of a body, the very object."""
        if isinstance(event, Response):
            event = self._completed(event)
        pieces = self.send_with_data_passthrough(event)
        if pieces is None:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _completed(self, answer: Response) -> Response:
        """Add the headers here, where answers of uvicorn pass too: 400, 500 and 503."""
        return Response(
            status_code=answer.status_code,
            headers=with_security_headers(list(answer.headers), self._headers()),
            http_version=answer.http_version,
            reason=answer.reason,
        )
