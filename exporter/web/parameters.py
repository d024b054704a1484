"""The parameters of a page, taken out of its address: an empty one is as good as none, a wrong one is said."""

from collections.abc import Iterable, Sequence

from starlette.datastructures import QueryParams

from exporter.texts import visible

LONGEST = 300
_QUOTED = 40


class WrongParameter(Exception):
    """A page was asked for in a way that it cannot be shown; the message is one line that says what can."""


class Parameters:
    """What a page was asked with. Raises WrongParameter for what it does not know, and for what is said twice."""

    def __init__(self, query: QueryParams, known: Sequence[str], repeatable: Iterable[str] = ()) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in query.multi_items():
            if name not in known:
                raise WrongParameter(f"There is no parameter {quoted(name)} here; there {_listed(known)}.")
            if len(value) > LONGEST:
                raise WrongParameter(f"{name} is longer than {LONGEST} characters; ask for less.")
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
    """Return a text that was given in quotation marks, as it may stand in a message."""
    shown = visible(text)
    return f"“{shown if len(shown) <= _QUOTED else shown[:_QUOTED] + '…'}”"


def _listed(names: Sequence[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none"
