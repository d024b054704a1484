"""Hostile names, meant to be more than text: seeded, so that every run has the same."""

import random
from collections.abc import Sequence

_PARTS = (
    "<script>window.ran = true</script>",
    "<img src=x onerror=window.ran=true>",
    "<svg onload=window.ran=true>",
    "<iframe srcdoc='<script>parent.ran=true</script>'>",
    '" autofocus onfocus="window.ran=true',
    "' onmouseover='window.ran=true",
    "` onclick=window.ran=true `",
    "</title><script>window.ran=true</script>",
    "</style></textarea></svg></td></table>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?php",
    "javascript:window.ran=true",
    "data:text/html,<script>window.ran=true</script>",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${7*7}",
    "&lt;b&gt;",
    "&#60;script&#62;",
    "&amp",
    "%3Cscript%3E",
    "//evil.example/",
    "../../etc/passwd",
    "?a=b&c=d#e",
    "=1+1",
    "@SUM(A1)",
    "\u202e",
    "\u2066",
    "\u200d",
    "\ufeff",
    "\ud7ff",
    "\ufffd",
    "e\u0301",
    "😈",
    "ﬃ",
    "İ",
    "\\",
    "'",
    '"',
    "/",
    "<",
    ">",
    "&",
    "\x7f",
    "\x1b[31m",
    "a",
    "Z",
    "9",
)


def hostile_names(count: int, seed: int = 20_260_727) -> Sequence[str]:
    """Return so many distinct names, each of one to six parts; none begins or ends with a blank, or is empty."""
    randomness = random.Random(seed)
    names: dict[str, None] = {}
    while len(names) < count:
        parts = randomness.choices(_PARTS, k=randomness.randint(1, 6))
        name = randomness.choice(["", " "]).join(parts).strip()
        if name:
            names[name] = None
    return list(names)
