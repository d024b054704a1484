"""What must be true of a checkout before it is released: one version everywhere, and a section of the changelog."""

import re
from collections.abc import Iterator
from pathlib import Path

# Every file that repeats the version of pyproject.toml, with its places.
REPEATED = {
    "charts/tableau-exporter/Chart.yaml": r'^(?:version|appVersion): "?([^"\s]+)',
    "compose.yaml": r"image: tableau-exporter:(\S+)",
    "docs/installation.md": r"tableau-exporter[:_-](\d+\.\d+\.\d+[\w.]*?)(?:[-_.](?:amd64|py3|image|tgz|deb)|\s)",
    "docs/kubernetes.md": r"tableau-exporter-(\d\S*?)\.tgz",
}


def faults(root: Path, version: str) -> Iterator[str]:
    """Yield a line for each reason not to release a version."""
    for name, place in REPEATED.items():
        for found in re.findall(place, (root / name).read_text(), re.MULTILINE):
            if found != version:
                yield f"{name}: has version {found}, pyproject.toml {version}"
    sections = dict(re.findall(r"(?ms)^## \[([^\]]+)\][^\n]*\n(.*?)(?=^## \[|\Z)", (root / "CHANGELOG.md").read_text()))
    if "\n- " not in sections.get(version, ""):
        yield f"CHANGELOG.md: has no section [{version}] with an entry"
    if "\n- " in sections.get("Unreleased", ""):
        yield "CHANGELOG.md: [Unreleased] has entries; move them to the section of the version"
