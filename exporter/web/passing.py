"""HTTP/1.1 as h11 has it, whose bodies go to the socket as they are: h11 itself would copy each part of them."""

from h11 import Connection, Event


class PassingConnection(Connection):
    """A connection that hands on what it was given to send."""

    def send(self, event: Event) -> bytes | None:  # type: ignore[override] # as h11 has it, without its overloads
        """Return what is to be sent for an event, None where the connection ends; of a body, the very object."""
        pieces = self.send_with_data_passthrough(event)
        if pieces is None:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
