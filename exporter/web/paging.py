"""A long list in pages, and the addresses of the same list in another order or at another place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from exporter.web.parameters import WrongParameter

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Paging:
    """Which part of a list is shown: ``page`` from 1 on, of ``size`` rows each."""

    count: int
    size: int
    page: int = 1

    def __post_init__(self) -> None:
        if self.page > self.pages:
            pages = "is one page" if self.pages == 1 else f"are {self.pages:,} pages"
            raise WrongParameter(f"page cannot be {self.page}; there {pages}.")

    @property
    def pages(self) -> int:
        """How many pages there are: one of an empty list too."""
        return max(1, -(-self.count // self.size))

    @property
    def begin(self) -> int:
        """How many rows stand before this page."""
        return (self.page - 1) * self.size

    @property
    def end(self) -> int:
        """How many rows stand up to the end of this page."""
        return min(self.count, self.page * self.size)


def address(path: str, pairs: Pairs, changes: Mapping[str, str | None]) -> str:
    """Return an address with some parameters changed, or taken out by None."""
    kept = [(name, value) for name, value in pairs if name not in changes]
    kept += [(name, value) for name, value in changes.items() if value is not None]
    query = urlencode([(name, value.encode(errors="replace")) for name, value in kept])
    return f"{path}?{query}" if query else path
