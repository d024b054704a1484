"""Printable text: foreign strings for a terminal, a log line or a page."""

import base64
import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote, unquote_plus, urlsplit

UNKNOWN = "unknown"
SECRET_WORDS = (
    *("cookie", "password", "passwd", "passphrase", "salt", "keychain", "secret", "token", "jwt", "bearer"),
    *("credential", "authorization", "api_key", "apikey", "private_key", "access_key", "ticket"),
)
"""Words in the names of columns and fields that hold secrets, whatever they are columns of: none is stored."""
# A secret that is shorter is part of many a word, and masks nothing but itself.
SHORT_SECRET = 8
UNSHOWN = "(a URI that is not shown: it cannot be parsed)"
WITHHELD = "(its words are withheld: they quote a password or token)"
# Stands for a secret while URIs are made safe: no character that ends one.
_MASK = "\ue000"

# Where a word begins: also behind %2F and \n, as they stand in a URL and within quotes.
_WORD_BEGINS = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[abfnrtv]))"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`]*")


def one_line(value: object) -> str:
    """Return a text without the breaks of its lines."""
    return " ".join(str(value).split())


def safe_uri(text: str) -> str:
    """Return a path as it is, a URI without user, password, query and fragment, each of which may be a secret.

    A URL that cannot be parsed is replaced by a fixed text: an unescaped password has its end in the path.
    """
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host, port = parts.netloc.rpartition("@")[2], parts.port
    except ValueError:
        return UNSHOWN
    if not parts.scheme or "@" in parts.path or (parts.netloc and not host) or port == 0:
        return UNSHOWN
    return f"{parts.scheme}://{host}{parts.path}"


def safe_uris(text: str) -> str:
    """Return a text whose every URI is safe to be shown."""
    return _URI.sub(lambda found: safe_uri(found[0]), text)


def secret_pattern(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern that finds each of some secrets, the longest first: a short one as a word, others anywhere."""
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    return re.compile("|".join(map(_secret, longest_first)) or r"(?!)")


def _secret(secret: str) -> str:
    pattern = re.escape(secret)
    if len(secret) >= SHORT_SECRET:
        return pattern
    begins = _WORD_BEGINS if re.match(r"\w", secret) else ""
    return begins + pattern + (r"(?!\w)" if re.search(r"\w\Z", secret) else "")


def safe_text(text: str, secrets: Iterable[str]) -> str:
    """Return a stranger's text with each secret masked, and every URI safe; none of it where one is quoted escaped."""
    secrets = tuple(filter(None, secrets))
    forms = {form for secret in secrets for form in (secret, *_base64_forms(secret))}
    # Before the URIs: a secret with a ? in it is cut there, and its beginning is no secret any more.
    masked = secret_pattern(forms).sub(_MASK, text) if _any_in(forms, text) else text
    return WITHHELD if quotes(masked, secrets) else safe_uris(masked).replace(_MASK, "<secret>")


def quotes(text: str, secrets: Iterable[str], fold: Callable[[str], str] = str) -> bool:
    """Whether a text contains a secret, escaped in any usual way; with ``str.casefold`` in any case as well."""
    readings = [(read, fold(read(text))) for read in _READINGS]
    for secret in filter(None, secrets):
        # The second is what its bytes are to a program that reads them as Latin-1.
        for form in {secret, secret.encode("utf-8", "replace").decode("latin-1")}:
            for read, seen in readings:
                forms = {fold(form), fold(read(form))}
                if _any_in(forms, seen) and secret_pattern(forms).search(seen):
                    return True
        if any(fold(form) in fold(text) for form in _base64_forms(secret)):
            return True
    return False


def _any_in(forms: Iterable[str], text: str) -> bool:
    """Whether a text contains any of some forms: only then is their pattern compiled, which takes far longer."""
    return any(form in text for form in forms)


def _base64_forms(secret: str) -> Iterable[str]:
    """Yield what a secret is within base64, where it may begin at each of three places; a short one is not sought."""
    coded = secret.encode("utf-8", "replace")
    if len(coded) >= SHORT_SECRET:
        for before, mixed in ((0, 0), (1, 2), (2, 3)):
            whole = (before + len(coded)) * 4 // 3
            yield base64.b64encode(b" " * before + coded).decode()[mixed:whole]


def _unescaped(text: str) -> str:
    text = re.sub(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))", lambda found: chr(int(found[1] or found[2], 16)), text)
    return re.sub(r"\\(.)", r"\1", text)


_READINGS: Sequence[Callable[[str], str]] = (
    str,
    html.unescape,
    unquote,
    unquote_plus,
    _unescaped,
    lambda text: _unescaped(unquote_plus(html.unescape(text))),
)


def visible(text: str) -> str:
    """Return a text whose every character can be seen: what moves a cursor or hides the next one is escaped."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def columns(rows: Sequence[Sequence[str]], widest: float = math.inf) -> list[str]:
    """Return rows of cells as lines, each column as wide as its widest cell: nothing is cut.

    A cell that is wider than ``widest`` moves the rest of its own line, and does not make every other line as wide.
    """
    from rich.cells import cell_len

    widths = [int(min(max(map(cell_len, column)), widest)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def span(seconds: float) -> str:
    """Write a span in the unit that suits it."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else coarse(seconds)


def coarse(seconds: float) -> str:
    """Write a span in its largest unit, and the next one where the count is small."""
    for unit, length, part, share in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole, rest = divmod(int(seconds), length)
        if whole:
            return f"{whole:,} {unit}" + (f" {rest // share} {part}" if whole < 10 and rest >= share else "")
    return f"{int(seconds)} s"
