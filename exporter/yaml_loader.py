"""YAML as the configuration reads it.

Every value stays the text that was written, so that 007, 2024-01-01 and no stay texts until a key decides what
it wants; a key without a value counts as left out. No message repeats a value: it may be a secret.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from exporter.errors import ConfigurationError, Fault

# What PyYAML quotes is one character, a kind of token such as '<scalar>', or the user's own words.
_QUOTED = re.compile(r"'(?:(?P<own>[^'<][^']+)|[^']*)'")


_MAX_CHARACTERS = 1_000_000
_MAX_VALUES = 20_000


class _TooManyValues(Exception):
    """A text holds more values than any configuration."""


class _TextLoader(yaml.SafeLoader):
    """Resolves null alone, and stops at too many keys and values."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name and the shape are PyYAML's

    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as PyYAML has it
        """Compose a node, and count it."""
        self._nodes += 1
        if self._nodes > _MAX_VALUES:
            raise _TooManyValues
        return super().compose_node(parent, index)


_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "str", "seq", "map")}


def read_text(path: Path) -> str:
    """Return the text of a file, of a huge one no more than ``parse`` refuses. Raises OSError, UnicodeDecodeError."""
    with path.open(encoding="utf-8-sig") as file:
        return file.read(_MAX_CHARACTERS + 1)


def parse(text: str, name: str, *, keep_null: bool = False) -> tuple[object, list[Fault]]:
    """Return the value of a YAML text and the faults that leave it readable, such as a key given twice.

    ``name`` is what a fault of the whole text is called by; with ``keep_null`` a key without a value is None instead of
    absent. Raises ConfigurationError where no value can be read, or the text is unreasonably large.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ConfigurationError([Fault(name, f"is longer than {_MAX_CHARACTERS:,} characters")])
    try:
        node = _TextLoader(text).get_single_node()
        if node is None:
            return None, []
        _size(node, {})
        faults = [Fault(path, message) for path, message in _faults(node, "")]
        return _value(node, keep_null=keep_null), faults
    except _TooManyValues:
        message = f"holds more than {_MAX_VALUES:,} values, with all aliases followed"
        raise ConfigurationError([Fault(name, message)]) from None
    except RecursionError:
        raise ConfigurationError([Fault(name, "is nested too deeply")]) from None
    except yaml.YAMLError as error:
        raise ConfigurationError([Fault(name, _message(error))]) from None
    except (ValueError, OverflowError):  # PyYAML makes a character of any number behind "U"
        raise ConfigurationError([Fault(name, r"has an escape \U that is no character")]) from None


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Count the values of a node, those of an alias each time it is used, without following an alias twice."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise RecursionError  # an anchor that contains its own alias
        return known
    sizes[id(node)] = None
    size = 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a text", problem_mark=key.start_mark)
            size += _size(value, sizes)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(entry, sizes) for entry in node.value)
    if size > _MAX_VALUES:
        raise _TooManyValues
    sizes[id(node)] = size
    return size


def _value(node: yaml.Node, *, keep_null: bool) -> object:
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(key.value), _value(value, keep_null=keep_null)) for key, value in node.value]
        return {key: value for key, value in pairs if keep_null or value is not None}
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, keep_null=keep_null) for entry in node.value]
    return None if node.tag.endswith(":null") else node.value


def _faults(node: yaml.Node, path: str) -> Iterator[tuple[str, str]]:
    if node.tag not in _TAGS:
        yield path, "has a YAML tag: put a value that starts with ! in quotes"
    children: list[tuple[str, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        yield from _twice(node, path)
        children = [(str(key.value), value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), entry) for index, entry in enumerate(node.value)]
    for key, child in children:
        yield from _faults(child, f"{path}.{key}" if path else key)


def _twice(node: yaml.MappingNode, path: str) -> Iterator[tuple[str, str]]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            yield f"{path}.{name}" if path else name, f"is given twice, in line {lines[name]} and in line {line}"
        lines[name] = line


def _message(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    if r"'\t'" in problem:
        problem = "a tab: indent with blanks"
    if "alias" in problem or "anchor" in problem or "tag" in problem:
        problem = "put a value that starts with *, & or ! in quotes"
    return f"is no YAML: {place}{_QUOTED.sub(lambda quoted: '...' if quoted['own'] else quoted[0], problem)}"
