"""Counts the values of an XML or JSON text in its bytes as they arrive, before anything parses them.

A few hundred kilobytes of gzip decompress to tens of millions of empty elements: within any bound of bytes, and half a
minute of work and gigabytes of memory for a parser.
"""

MAX_VALUES = 1_000_000
"""A page of Tableau has at most 1,000 items, of some 30 elements and attributes each; 1,000 are allowed for each, so
that an item may have 480 tags. A list that has no pages, as that of tasks, may have 50,000 entries of 20."""

# No XML element begins without the first, no attribute without the second; no JSON value follows anything else.
_OF_XML, _OF_JSON = (b"<", b"="), (b",", b"[", b"{")


class ValueCount:
    """Counts what begins a value, in the format that has more of it: never fewer than there are values.

    These characters are the same bytes in every encoding that expat or json understands.
    """

    def __init__(self) -> None:
        self._xml = self._json = 0

    def add(self, chunk: bytes) -> None:
        """Count the next bytes of a text."""
        self._xml += sum(map(chunk.count, _OF_XML))
        self._json += sum(map(chunk.count, _OF_JSON))

    @property
    def count(self) -> int:
        """How many values there are at most."""
        return max(self._xml, self._json)

    @property
    def excess(self) -> str | None:
        """The limit, as a text, where there are more values than any answer needs."""
        return f"{MAX_VALUES:,} values" if self.count > MAX_VALUES else None
