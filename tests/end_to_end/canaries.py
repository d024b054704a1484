"""A canary for every secret of the configuration, recognised in any output.

Which keys are secret is read from the schema: one that is added there is given a canary, and must be set by a variant.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import quote

from pydantic import BaseModel

from exporter.config import Configuration
from exporter.config.value_types import Secret

# What must be escaped in a URL, in HTML, in JSON and in Python; a header of HTTP takes it all.
_MIDDLE = "/?#&%+=@:\"'\\<"
# Called like secrets, and none.
NAMES = {"rest.token_name", "rest.connected_app.secret_id", "exports.publish.token_name"}
_CALLED_SECRET = re.compile(r"passw|secret|token|credential|api_key|bearer|private|signature")


@dataclass(frozen=True)
class Canary:
    """One secret: two halves that cannot come about by chance, and between them characters that need escapes."""

    name: str

    @property
    def halves(self) -> tuple[str, str]:
        """The text that identifies it: letters and digits, which are hardly ever escaped."""
        text = base64.b32encode(hashlib.sha256(self.name.encode()).digest()).decode().lower()
        return text[:14], text[14:28]

    @property
    def value(self) -> str:
        """The secret."""
        return _MIDDLE.join(self.halves)

    @property
    def needles(self) -> frozenset[bytes]:
        """The forms of a half: plain, reversed, in hexadecimal digits and within base64; all in lower case."""
        found = set()
        for half in self.halves:
            found |= {half, half[::-1], half.encode().hex()}
            # Three bytes are four characters: the half begins at one of three places.
            for before, cut in ((0, 0), (1, 2), (2, 3)):
                coded = base64.b64encode(b"x" * before + half.encode()).decode().rstrip("=")
                found.add(coded[cut : -1 - before])
        return frozenset(needle.lower().encode() for needle in found)

    def is_in(self, content: bytes) -> bool:
        """Return whether any half of it stands in a content, in any of these forms."""
        lower = content.lower()
        return any(needle in lower for needle in self.needles)


FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "percent": lambda text: quote(text, safe=""),
    "percent, lower case": lambda text: quote(text, safe="").lower(),
    "html": html.escape,
    "json": lambda text: json.dumps(text)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "a pair": lambda text: base64.b64encode(f"exporter:{text}".encode()).decode(),
    "in a path": lambda text: f"http://tableau.invalid/{text}",
    "in a query": lambda text: f"http://tableau.invalid/?ticket={text}",
    "userinfo": lambda text: f"https://exporter:{text}@tableau.invalid/",
}
"""How a peer may quote a secret."""


def secret_keys(section: type[BaseModel] = Configuration, path: str = "") -> Iterator[str]:
    """Yield each key of the schema whose value is a secret, as its path."""
    for name, field in section.model_fields.items():
        kinds = list(_kinds(field.annotation))
        if Secret in kinds:
            yield f"{path}{name}"
        for kind in kinds:
            if issubclass(kind, BaseModel):
                yield from secret_keys(kind, f"{path}{name}.")


def keys_called_secret(section: type[BaseModel] = Configuration, path: str = "") -> Iterator[str]:
    """Yield each key that holds a text and is called as secrets are."""
    for name, field in section.model_fields.items():
        kinds = list(_kinds(field.annotation))
        if {str, Secret} & set(kinds) and _CALLED_SECRET.search(name):
            yield f"{path}{name}"
        for kind in kinds:
            if issubclass(kind, BaseModel):
                yield from keys_called_secret(kind, f"{path}{name}.")


def _kinds(annotation: Any) -> Iterator[type]:  # noqa: ANN401 - whatever an annotation is made of
    """Yield each class that an annotation names."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)
