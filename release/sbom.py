"""The software bill of materials: a CycloneDX 1.5 document of the locked requirements.

Versions are those of the lock; licences and dependencies those of the installed distributions, which have the same
versions, on this platform. Hashes are in the requirements file: one component has several wheels.
"""

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "tableau-exporter"
PIN = re.compile(r"^([a-z0-9.-]+)==([^\s;]+)(?: ; (.*?))? \\$", re.MULTILINE)


def write(version: str, requirements: Path, dist: Path) -> Path:
    """Write the document of a version; return its path."""
    path = dist / f"{NAME}-{version}.cdx.json"
    path.write_text(json.dumps(document(version, requirements.read_text()), indent=2) + "\n")
    return path


def document(version: str, requirements: str) -> Mapping[str, Any]:
    """Return the document: the same for the same lock."""
    pins = sorted(PIN.findall(requirements))
    # A lock for several versions of Python may have several versions of one distribution.
    purls: defaultdict[str, list[str]] = defaultdict(list)
    for name, pinned, _ in [*pins, (NAME, version, "")]:
        purls[name].append(_purl(name, pinned))
    purl = _purl(NAME, version)
    root = {"type": "application", "name": NAME, "version": version, "bom-ref": purl, "purl": purl}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, purl + requirements)}",
        "version": 1,
        "metadata": {"component": {**root, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": [_component(name, pinned, marker) for name, pinned, marker in pins],
        "dependencies": _dependencies(purls),
    }


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _component(name: str, version: str, marker: str) -> Mapping[str, Any]:
    purl = _purl(name, version)
    component: dict[str, Any] = {"type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl}
    if licence := _licence(name, version):
        component["licenses"] = [licence]
    if marker:
        component["properties"] = [{"name": "python:marker", "value": marker}]
    return component


def _licence(name: str, version: str) -> Mapping[str, Any] | None:
    """Return the licence that a distribution declares, if this version of it is installed."""
    try:
        found = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return None
    if found["version"] != version:
        return None
    if expression := found.get("license_expression"):
        return {"expression": expression}
    names = [str(text).rpartition(" :: ")[2] for text in found.get("classifier", ()) if str(text).startswith("License")]
    text = names[0] if names else str(found.get("license", "")).partition("\n")[0]
    return {"license": {"name": text}} if text else None


def _dependencies(purls: Mapping[str, Sequence[str]]) -> Sequence[Mapping[str, Any]]:
    """Return the direct dependencies of each component, with the extras by which others require it."""
    required = {name: list(_required(name)) for name in purls}
    extras: defaultdict[str, set[str]] = defaultdict(set)
    for requirement in (requirement for found in required.values() for requirement in found):
        extras[canonicalize_name(requirement.name)] |= requirement.extras
    graph = []
    for name in sorted(purls):
        needed = {canonicalize_name(each.name) for each in required[name] if _applies(each, extras[name])}
        found = sorted(purl for each in needed & purls.keys() for purl in purls[each])
        graph += [{"ref": purl, "dependsOn": found} for purl in purls[name]]
    return graph


def _applies(requirement: Requirement, extras: Collection[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _required(name: str) -> Iterator[Requirement]:
    try:
        yield from map(Requirement, metadata.requires(name) or [])
    except metadata.PackageNotFoundError:
        return
