"""How many values a text can hold: never fewer than a parser finds."""

import json
from xml.parsers import expat

import pytest

from exporter.value_count import MAX_VALUES, ValueCount


def counted(text: bytes) -> ValueCount:
    """Return the count of a text that arrives at once."""
    values = ValueCount()
    values.add(text)
    return values


XML = [b"<a/>", b"<a></a>", b"<a>text</a>", b"<a b='' c='' d=''/>", b'<a b="="/>', b"<a><b/><!-- c --></a>"]
JSON = [b"[]", b"[[], []]", b'{"a": {"b": [1, null, "x"]}}', b'{"a": 1, "b": ["", ""]}', b'"a, b"', b"1"]


def values_of_xml(text: bytes) -> int:
    """Return how many elements and attributes a parser finds."""
    found = 0

    def start(_: str, attributes: dict[str, str]) -> None:
        nonlocal found
        found += 1 + len(attributes)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.Parse(text, True)
    return found


def values_of_json(value: object) -> int:
    """Return how many values stand in lists and under keys, at every depth."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(inside) + sum(map(values_of_json, inside))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [*XML, *JSON], ids=lambda text: text.decode())
def test_no_value_is_missed(text: bytes, encoding: str) -> None:
    """At least as many values are counted as a parser finds, whatever the encoding."""
    found = values_of_xml(text) if text in XML else values_of_json(json.loads(text))
    assert counted(text.decode().encode(encoding)).count >= found


def test_as_many_as_allowed_are_allowed() -> None:
    """The limit itself is no excess, one more is, over all chunks; plain text has no values, however long it is."""
    values, found = counted(b"<" * (MAX_VALUES - 1)), []
    for _ in range(2):
        values.add(b"<")
        found.append(values.excess)
    assert found == [None, "1,000,000 values"]
    assert counted(b"text " * MAX_VALUES).excess is None
