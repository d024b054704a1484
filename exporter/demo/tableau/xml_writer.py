"""XML of the REST API: escaped attributes and elements in Tableau's namespace."""

import re
from collections.abc import Mapping

NAMESPACE = "http://tableau.com/api"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<tsResponse xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    f' xsi:schemaLocation="{NAMESPACE} https://help.tableau.com/samples/en-us/rest_api/ts-api_3_26.xsd">'
)
TAIL = "</tsResponse>"
ELEMENT = re.compile(rb"<(/?)(?=[a-zA-Z])")

ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)


def text(value: object) -> str:
    """Escape a value for an attribute or for the text of an element."""
    return str(value).translate(ESCAPES)


def document(*parts: str) -> bytes:
    """Return the response with these elements."""
    return "".join((HEAD, *parts, TAIL)).encode()


def element(name: str, attributes: Mapping[str, object], *inside: str) -> str:
    """Write one element; attributes that are None are left out."""
    pairs = "".join(f' {key}="{text(value)}"' for key, value in attributes.items() if value is not None)
    within = "".join(inside)
    return f"<{name}{pairs}>{within}</{name}>" if within else f"<{name}{pairs}/>"


def prefixed(answer: bytes) -> bytes:
    """Write an answer with a prefix before each of its elements, as Tableau writes some."""
    return ELEMENT.sub(rb"<\1ns0:", answer).replace(b" xmlns=", b" xmlns:ns0=", 1)
