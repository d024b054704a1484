"""Query parameters of pages and of ``/metrics``. Empty means missing; invalid raises WrongParameter."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from exporter.texts import visible

LONGEST = 300
_QUOTED = 40


class WrongParameter(Exception):
    """An invalid query parameter; the message is one line that names the valid values."""


class Parameters:
    """The query parameters of a page. Raises WrongParameter for unknown and for repeated ones."""

    def __init__(self, query: QueryParams, known: Sequence[str], repeatable: Iterable[str] = ()) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in query.multi_items():
            if name not in known:
                raise WrongParameter(f"There is no parameter {quoted(name)} here; there {_listed(known)}.")
            if len(value) > LONGEST:
                raise WrongParameter(f"{name} is longer than {LONGEST} characters; use fewer.")
            if value.strip():
                self._given.setdefault(name, []).append(value.strip())
        for name, values in self._given.items():
            if len(values) > 1 and name not in repeatable:
                raise WrongParameter(f"{name} is given twice; give it once.")

    def text(self, name: str) -> str:
        """Return a text, empty where none is given."""
        return self._given.get(name, [""])[0]

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of the choices."""
        value = self.text(name) or default
        if value != default and value not in choices:
            raise WrongParameter(f"{name} cannot be {quoted(value)}; it is one of {', '.join(choices)}.")
        return value

    def choices(self, name: str, choices: Sequence[str]) -> tuple[str, ...]:
        """Return some of the choices, in their order; none where none is given."""
        values = self._given.get(name, [])
        for value in values:
            if value not in choices:
                raise WrongParameter(f"{name} cannot be {quoted(value)}; it is one of {', '.join(choices)}.")
        return tuple(choice for choice in choices if choice in values)

    def page(self) -> int:
        """Return the number of a page, the first where none is given."""
        value = self.text("page") or "1"
        if not (value.isascii() and value.isdigit() and 1 <= len(value) <= 7 and int(value) >= 1):
            raise WrongParameter(f"page cannot be {quoted(value)}; it is a number from 1 on.")
        return int(value)


def quoted(text: str) -> str:
    """Return a value in quotation marks, printable and shortened, for a message."""
    printable = visible(text)
    return f"“{printable if len(printable) <= _QUOTED else printable[:_QUOTED] + '…'}”"


def _listed(names: Sequence[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none"


Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Paging:
    """A page of a list: ``page`` from 1 on, of ``size`` rows each."""

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
        """How many rows are before this page."""
        return (self.page - 1) * self.size

    @property
    def end(self) -> int:
        """How many rows there are up to the end of this page."""
        return min(self.count, self.page * self.size)


def address(path: str, pairs: Pairs, changes: Mapping[str, str | None]) -> str:
    """Return an address with some parameters changed, or taken out by None."""
    kept = [(name, value) for name, value in pairs if name not in changes]
    kept += [(name, value) for name, value in changes.items() if value is not None]
    query = urlencode([(name, value.encode(errors="replace")) for name, value in kept])
    return f"{path}?{query}" if query else path


COLLECT, EXCLUDE = "collect[]", "exclude[]"


def chosen_collectors(
    collected: Sequence[str], excluded: Sequence[str], collectors: Mapping[str, bool]
) -> Collection[str]:
    """Return the names of the requested collectors; ``collectors`` maps each to whether it is enabled.

    Raises WrongParameter where both parameters are given, and for a collector to collect that is unknown or disabled.
    Excluding such a collector changes nothing.
    """
    if collected and excluded:
        raise WrongParameter(f"{COLLECT} and {EXCLUDE} cannot be combined; give one of the two.")
    enabled = {name for name, is_enabled in collectors.items() if is_enabled}
    if excluded:
        return enabled.difference(excluded)
    for name in collected:
        if name not in collectors:
            raise WrongParameter(f"There is no collector {quoted(name)}; there are {', '.join(sorted(collectors))}.")
        if name not in enabled:
            raise WrongParameter(f"The collector {name} is disabled.")
    return set(collected)
