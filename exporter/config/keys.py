"""The configuration's keys, read from the declarations of the sections: there is no second list."""

import difflib
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

Path = tuple[str, ...]


def kind(root: type[BaseModel], path: Sequence[str | int]) -> object:
    """Return the kind of value at a path: section, generic ``dict`` or ``tuple``, or a type; None where it is unknown.

    The path of a list's entry has its index.
    """
    current: object = root
    for part in path:
        current = _bare(_step(current, part))
    return current


def keys(root: type[BaseModel], path: Sequence[str | int] = ()) -> tuple[str, ...]:
    """Return the keys of the section at a path, nothing where no section stands."""
    section = kind(root, path)
    return tuple(section.model_fields) if _is_section(section) else ()


def paths(root: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """Yield the path of every section and key; a list is one key."""
    for key in keys(root, prefix):
        yield (*prefix, key)
        yield from paths(root, (*prefix, key))


def is_structured(kind_of_value: object) -> bool:
    """Whether a value of this kind is a section, a mapping or a list."""
    return _is_section(kind_of_value) or get_origin(kind_of_value) in {dict, tuple}


def holds_secret(root: type[BaseModel], document: Mapping[str, object]) -> bool:
    """Whether a secret is written in the document itself."""
    return _holds_secret(root, document)


def suggestion(word: str, words: Collection[str], prefix: str = "") -> str:
    """Return the end of a message that suggests a similar word, after ``prefix``; empty if none is similar."""
    close = difflib.get_close_matches(word, words, n=1)
    return f", did you mean {prefix}{close[0]}?" if close else ""


def _step(current: object, part: str | int) -> object:
    if _is_section(current):
        field = current.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(current) in {dict, tuple}:
        return get_args(current)[get_origin(current) is dict]
    return None


def _bare(annotation: object) -> object:
    """Take ``Annotated`` and ``| None`` off."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return _bare(next(choice for choice in get_args(annotation) if choice is not type(None)))
    return annotation


def _is_section(kind_of_value: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind_of_value, type) and issubclass(kind_of_value, BaseModel)


def _is_secret(kind_of_value: object) -> bool:
    return isinstance(kind_of_value, type) and issubclass(kind_of_value, SecretStr)


def _holds_secret(kind_of_value: object, value: object) -> bool:
    if _is_secret(kind_of_value):
        return True
    below = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return any(_holds_secret(_bare(_step(kind_of_value, part)), inner) for part, inner in below)
