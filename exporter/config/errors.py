"""Validation errors of pydantic as faults of one line each, never with the value."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config import keys
from exporter.errors import Fault

_WORD = re.compile(r"'([^']*)'")

_MESSAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "model_type": lambda _: "must be a mapping of keys",
    "dict_type": lambda _: "must be a mapping of names",
    "tuple_type": lambda _: "must be a list",
    "too_short": lambda _: "must not be empty",
    "string_too_short": lambda _: "must not be empty",
    "string_type": lambda _: "must be one value, not a list or a mapping",
    "path_type": lambda _: "must be one value, not a list or a mapping",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "must be a smaller number",
    "int_from_float": lambda _: "must be a whole number",
    "greater_than_equal": lambda context: f"must be {context['ge']} or more",
    "less_than_equal": lambda context: f"must be {context['le']} or less",
    "literal_error": lambda context: f"must be one of {', '.join(_WORD.findall(context['expected']))}",
    "value_error": lambda context: str(context["error"]),
}


def explain(root: type[BaseModel], errors: Iterable[ErrorDetails]) -> list[Fault]:
    """Return a fault for each error of a validation of ``root``."""
    return [_explain(root, error) for error in errors]


def _explain(root: type[BaseModel], error: ErrorDetails) -> Fault:
    location = [part for part in error["loc"] if part != "[key]"]
    path = ".".join(_in_one_line(str(part)) for part in location)
    if error["type"] == "extra_forbidden":
        return Fault(path, f"unknown key{keys.suggestion(str(location[-1]), keys.keys(root, location[:-1]))}")
    message = _MESSAGES.get(error["type"])
    return Fault(path, message(error.get("ctx", {})) if message else f"is not valid ({error['type']})")


def _in_one_line(part: str) -> str:
    return part if part.isprintable() else ascii(part)
