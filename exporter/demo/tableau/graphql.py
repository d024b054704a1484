"""As much of GraphQL's language as queries of the Metadata API need: one operation, variables, nested fields.

Fragments and directives are refused by name, so that nobody takes silence for an answer.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN = re.compile(
    r'(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)|(?P<text>"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>\.\.\.|[{}()\[\]:!=$@|])"
)
CONSTANTS = {"true": True, "false": False, "null": None}


class Invalid(Exception):
    """A query that cannot be understood."""


@dataclass(frozen=True)
class Field:
    """A field that is asked for, with what is asked for below it."""

    name: str
    alias: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    fields: tuple["Field", ...] = ()


def parse(query: str, variables: Mapping[str, object]) -> tuple[Field, ...]:
    """Read a query; variables are put into their places."""
    reader = _Reader(query)
    defaults: dict[str, object] = {}
    if reader.peek() != "{":
        reader.operation(defaults)
    fields = reader.selection({**defaults, **variables})
    if reader.peek() is not None:
        raise Invalid(f"Only one operation is answered: '{reader.peek()}' follows it")
    return fields


class _Reader:
    def __init__(self, query: str) -> None:
        self._words: list[str] = []
        at = 0
        while at < len(query):
            found = TOKEN.match(query, at)
            if found is None:
                raise Invalid(f"Invalid Syntax : offending token '{query[at]}'")
            at = found.end()
            if found.lastgroup != "skip":
                self._words.append(found[0])
        self._at = 0

    def peek(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def take(self, wanted: str | None = None) -> str:
        word = self.peek()
        if word is None or (wanted is not None and word != wanted):
            raise Invalid(f"Invalid Syntax : offending token '{word or '<EOF>'}', expected '{wanted or 'a name'}'")
        self._at += 1
        return word

    def operation(self, defaults: dict[str, object]) -> None:
        """Read what stands before the fields: ``query Name($first: Int = 100)``."""
        self.take("query")
        if self.peek() not in {"(", "{"}:
            self.take()
        if self.peek() != "(":
            return
        self.take("(")
        while self.peek() != ")":
            self.take("$")
            name = self.take()
            self.take(":")
            self._type()
            if self.peek() == "=":
                self.take("=")
                defaults[name] = self._value({})
        self.take(")")

    def selection(self, variables: Mapping[str, object]) -> tuple[Field, ...]:
        """Read ``{ ... }``."""
        self.take("{")
        found = []
        while self.peek() != "}":
            if self.peek() in {"...", "@"}:
                raise Invalid("Fragments and directives are not part of this simulated server")
            found.append(self._field(variables))
        self.take("}")
        return tuple(found)

    def _field(self, variables: Mapping[str, object]) -> Field:
        alias = name = self.take()
        if self.peek() == ":":
            self.take(":")
            name = self.take()
        arguments: dict[str, object] = {}
        if self.peek() == "(":
            self.take("(")
            while self.peek() != ")":
                key = self.take()
                self.take(":")
                arguments[key] = self._value(variables)
            self.take(")")
        return Field(name, alias, arguments, self.selection(variables) if self.peek() == "{" else ())

    def _type(self) -> None:
        if self.peek() == "[":
            self.take("[")
            self._type()
            self.take("]")
        else:
            self.take()
        if self.peek() == "!":
            self.take("!")

    def _value(self, variables: Mapping[str, object]) -> object:
        word = self.take()
        if word == "$":
            return variables.get(self.take())
        if word == "[":
            return list(self._until("]", variables))
        if word == "{":
            return self._object(variables)
        if word.startswith('"'):
            return word.strip('"') if word.startswith('"""') else json.loads(word)
        if word in CONSTANTS:
            return CONSTANTS[word]
        return json.loads(word) if word[0] in "-0123456789" else word

    def _until(self, end: str, variables: Mapping[str, object]) -> list[object]:
        found = []
        while self.peek() != end:
            found.append(self._value(variables))
        self.take(end)
        return found

    def _object(self, variables: Mapping[str, object]) -> dict[str, object]:
        found = {}
        while self.peek() != "}":
            key = self.take()
            self.take(":")
            found[key] = self._value(variables)
        self.take("}")
        return found
