"""Sources of the configuration, each overriding the last: the file, the environment, the command line.

Empty variables count as unset. Those that Kubernetes makes for a service called tableau-exporter are not ours. A secret
that a higher source sets displaces its ``*_file`` twin in a lower one, and the other way round.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_origin

from pydantic import BaseModel

from exporter.config import keys
from exporter.errors import ConfigurationError, Fault
from exporter.yaml_loader import parse

PREFIX = "TABLEAU_EXPORTER_"

Document = dict[str, Any]

_KUBERNETES = re.compile(
    r"(?:[A-Z0-9]+_)*"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9]+)*|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT = re.compile(r"(?:[A-Z0-9]+_)*PORT=(?:tcp|udp|sctp)://.*")


@dataclass(frozen=True)
class Variable:
    """A value from outside the file: what set it, the key it is for, and its text."""

    origin: str
    path: keys.Path
    text: str = field(repr=False)


def from_environment(root: type[BaseModel], environ: Mapping[str, str]) -> tuple[list[Variable], list[Fault]]:
    """Return what the environment sets, and a fault for each variable with our prefix that is no key."""
    known = {"__".join(path).upper(): path for path in keys.paths(root)}
    variables, faults = [], []
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        key, text = name.removeprefix(PREFIX), environ[name]
        path = known.get(key) or _entry(root, known, key)
        if path and text:
            variables.append(Variable(name, path, text))
        elif not path and not _is_kubernetes(key, text):
            faults.append(Fault(name, f"unknown key{keys.suggestion(key, known, PREFIX)}"))
    return variables, faults


def from_command_line(overrides: Mapping[str, str]) -> list[Variable]:
    """Return what the command line sets, by dotted keys."""
    return [Variable("the command line", tuple(key.split(".")), text) for key, text in overrides.items()]


def to_document(root: type[BaseModel], variables: Iterable[Variable]) -> tuple[Document, list[Fault]]:
    """Arrange variables as a file would have them; the more precise key wins."""
    document: Document = {}
    faults: list[Fault] = []
    for variable in sorted(variables, key=lambda variable: len(variable.path)):
        value: object = variable.text
        if _is_yaml(variable.text, keys.kind(root, variable.path)):
            try:
                value, inner = parse(variable.text, variable.origin)
            except ConfigurationError as error:
                faults.extend(error.faults)
                continue
            faults.extend(Fault(".".join((*variable.path, fault.path)), fault.message) for fault in inner)
        _put(document, variable.path, value)
    return document, faults


def merge(lower: Document, upper: Document) -> Document:
    """Return the lower source overridden by the upper one."""
    merged = dict(lower)
    for key, value in upper.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged.pop(f"{key}_file", None)
            merged.pop(key.removesuffix("_file"), None)
            merged[key] = value
    return merged


def name_origins(faults: Iterable[Fault], variables: Iterable[Variable]) -> list[Fault]:
    """Name in each fault what set a value from outside the file; the highest source comes last."""
    origins = {".".join(variable.path): variable.origin for variable in variables}
    return [_with_origin(fault, origins) for fault in faults]


def _with_origin(fault: Fault, origins: Mapping[str, str]) -> Fault:
    parts = fault.path.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    origin = next((origins[path] for path in above if path in origins), None)
    return Fault(fault.path, f"{fault.message} (set by {origin})") if origin else fault


def _entry(root: type[BaseModel], known: Mapping[str, keys.Path], key: str) -> keys.Path | None:
    """Return the path of an entry of a mapping whose keys are free, such as ``collectors``."""
    parent, separator, entry = key.rpartition("__")
    path = known.get(parent)
    if not separator or path is None or get_origin(keys.kind(root, path)) is not dict or entry != entry.upper():
        return None
    return (*path, entry.lower())


def _is_yaml(text: str, kind: object) -> bool:
    # [::1]:8060 is a host and [::1] a list by chance; a password may start with any bracket.
    return keys.is_structured(kind) and (text[0], text.strip()[-1:]) in {("[", "]"), ("{", "}")}


def _is_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES.fullmatch(name) or _KUBERNETES_PORT.fullmatch(f"{name}={value}"))


def _put(document: Document, path: keys.Path, value: object) -> None:
    for part in path[:-1]:
        below = document.get(part)
        document[part] = document = below if isinstance(below, dict) else {}
    document[path[-1]] = value
