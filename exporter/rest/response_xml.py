"""XML responses of the REST API, parsed as a stream without a tree; dates that tableauserverclient drops are kept.

Names come from outside. A document type is refused, for entities are a way to fill memory; control characters, which
XML forbids, are replaced and do not end the response.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from exporter.errors import SourceIncomplete

NAMESPACES = frozenset({"http://tableau.com/api", "http://tableausoftware.com/api"})
ROOT = "tsResponse"
ANYWHERE = 0
MAX_ENTRIES = 50_000
"""A page has 1,000 entries, a list without pages one for each task of a site; each costs a kilobyte of memory."""
# A list whose entries may be called as it is.
NAMED_LIKE_ENTRIES = frozenset({"flowRuns", "linkedTasks"})

MAX_REPLACED = 1_000_000
"""A thousand characters in each item of a page."""

_CONTROL_BYTES = bytes({*range(0x20)} - {*b"\t\n\r"})
_CONTROL = re.compile(b"[%s]" % re.escape(_CONTROL_BYTES))
_REFERENCE = re.compile(rb"&#(?:x([0-9a-fA-F]{1,12})|([0-9]{1,12}));")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass(slots=True)
class Entry:
    """One element of a list: its attributes, those of the requested elements inside, and its tags.

    ``inside`` has the first element of a name, ``every`` all of them in their order.
    """

    attributes: Mapping[str, str]
    inside: dict[str, Mapping[str, str]] = field(default_factory=dict)
    every: dict[str, list[Mapping[str, str]]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class XmlPage:
    """A page: its entries, and the numbers of its ``pagination``, None where there is none.

    ``lists`` are the elements that stand right below the root: a list that is empty is still there.
    """

    entries: list[Entry]
    lists: frozenset[str]
    page_number: int | None = None
    page_size: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class XmlShape:
    """The parts of an answer to read: the elements that are entries, and the elements inside, each at its depth."""

    items: frozenset[str]
    inside: Mapping[str, int] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()


def shape(*items: str, texts: tuple[str, ...] = (), **inside: int) -> XmlShape:
    """Declare a shape: ``shape("workbook", project=1, owner=1)``."""
    return XmlShape(frozenset(items), inside, frozenset(texts))


def read_page(content: bytes, wanted: XmlShape, place: str) -> XmlPage:
    """Read an answer of the REST API. Raises SourceIncomplete for any other response."""
    try:
        return _Reader(wanted).read(content)
    except (expat.ExpatError, ValueError, LookupError):
        pass  # it may have characters that XML forbids
    except _NotOfTableau as error:
        raise SourceIncomplete(f"{place}: {error}") from None
    try:
        return _Reader(wanted).read(_cleaned(content))
    except (expat.ExpatError, ValueError, LookupError) as error:
        element = "html" if b"<html" in content[:2000].lower() else ""
        raise SourceIncomplete(f"{place}: {_instead(element, f'no whole answer ({error})')}") from None
    except _NotOfTableau as error:
        raise SourceIncomplete(f"{place}: {error}") from None


class _NotOfTableau(Exception):
    """XML that is not Tableau's."""


class _Reader:
    def __init__(self, wanted: XmlShape) -> None:
        self._wanted = wanted
        self._depth = 0
        self._space = ""
        self._item: Entry | None = None
        self._item_depth = 0
        self._text: list[str] | None = None
        self._entries: list[Entry] = []
        self._lists: set[str] = set()
        self._pagination: Mapping[str, str] = {}

    def read(self, content: bytes) -> XmlPage:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        if self._wanted.texts:
            parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse
        parser.Parse(content, True)  # noqa: FBT003 - expat's own
        page, size, total = (_number(self._pagination.get(f"{name}")) for name in _PAGINATION)
        return XmlPage(self._entries, frozenset(self._lists), page, size, total)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth = depth = self._depth + 1
        space, _, plain = name.rpartition(" ")
        item = self._item
        if item is not None:
            inside = depth - self._item_depth
            wanted = self._wanted
            expected = wanted.inside.get(plain)
            if expected is not None and expected in {ANYWHERE, inside}:
                item.inside.setdefault(plain, attributes)
                item.every.setdefault(plain, []).append(attributes)
            elif plain == "tag" and inside == 2:
                item.tags.append(attributes.get("label", ""))
            elif plain in wanted.texts:
                self._text = []
            return
        if depth == 1:
            if plain != ROOT or space not in NAMESPACES:
                raise _NotOfTableau(_instead(plain, "XML that is not Tableau's"))
            return
        if plain in self._wanted.items and not (depth == 2 and plain in NAMED_LIKE_ENTRIES):
            self._begin(attributes)
        elif depth == 2:
            self._lists.add(plain)
            if plain == "pagination":
                self._pagination = attributes

    def _begin(self, attributes: dict[str, str]) -> None:
        if len(self._entries) == MAX_ENTRIES:
            raise _NotOfTableau(f"an answer of more than {MAX_ENTRIES:,} entries was not read to its end")
        self._item = Entry(attributes)
        self._item_depth = self._depth
        self._entries.append(self._item)

    def _end(self, name: str) -> None:
        if self._item is not None:
            if self._text is not None:
                self._item.texts.setdefault(name.rpartition(" ")[2], "".join(self._text))
                self._text = None
            if self._depth == self._item_depth:
                self._item = None
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)


_PAGINATION = ("pageNumber", "pageSize", "totalAvailable")


def _refuse(name: str, *_declaration: object) -> None:
    raise _NotOfTableau(_instead(name, "a document with a type of its own"))


def _instead(element: str, otherwise: str) -> str:
    what = "a page of HTML" if element.lower() == "html" else otherwise
    return f"{what} instead of a list; check whether a proxy or a login page stands in between"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else None


def _cleaned(content: bytes) -> bytes:
    """Return an answer whose characters are all allowed in XML. Raises ValueError where too many would be replaced."""
    controls = len(content) - len(content.translate(None, _CONTROL_BYTES))
    if max(controls, content.count(b"&#")) > MAX_REPLACED:
        raise ValueError(f"more than {MAX_REPLACED:,} control characters or references")
    text = content.decode("utf-8", "replace").encode()
    return _REFERENCE.sub(_allowed, _CONTROL.sub(_REPLACEMENT, text))


def _allowed(reference: re.Match[bytes]) -> bytes:
    hexadecimal, decimal = reference.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    fits = (
        number in {9, 10, 13} or 0x20 <= number <= 0xD7FF or 0xE000 <= number <= 0xFFFD or 0x10000 <= number <= 0x10FFFF
    )
    return reference.group() if fits else _REPLACEMENT
