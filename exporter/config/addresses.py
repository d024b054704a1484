"""Network addresses: ``host:port``, ``[::1]:8060``, the folder of a Unix socket, the URL of a service.

No message repeats the text: users paste passwords into addresses.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from exporter.hosts import canonical_host, is_loopback

REPOSITORY_PORT = 8060

_NAME = re.compile(r"[\w.-]+")
# Browsers send other letters as punycode (xn--).
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_NAME = 253
_ADDRESS = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_PATH = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
# The first part of the paths that the agent answers, without ".csv" and ".json".
PAGES = frozenset({"-", "assets", "events", "licences", "static", "undelivered", "usage"})
_SOCKET = re.compile(r"(?P<folder>/.*?)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Endpoint:
    """A host, a Unix socket's folder or, for listening, the empty host that stands for every address; and a port."""

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        """Whether this is a Unix socket: nothing crosses a network."""
        return self.host.startswith("/")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host(text: str) -> Endpoint:
    """Read ``host:port``, ``[v6]:port`` or ``/folder:port``; without a port it is that of Tableau's repository."""
    text = text.strip()
    if text.startswith("/"):
        return _socket(text)
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    match = _ADDRESS.fullmatch(text)
    host = match and _host(match)
    if not match or not host:
        raise ValueError("must be host:port, [::1]:8060 or the folder of a Unix socket")
    return Endpoint(host, _port(match["port"] or str(REPOSITORY_PORT), smallest=1))


def parse_listen_address(text: str) -> Endpoint:
    """Read ``host:port``, ``[::]:10071``, or ``:10071`` for every address of the machine."""
    match = _ADDRESS.fullmatch(text.strip())
    host = None if match is None else "" if match["name"] == "" else _host(match)
    if match is None or host is None or match["port"] is None:
        raise ValueError("must be host:port, such as 127.0.0.1:10071, [::1]:10071, or :10071 for every address")
    return Endpoint(host, _port(match["port"], smallest=0))


def parse_host_name(text: str) -> str:
    """Read a name or an address, without a port, as a request may name a host; return it as hosts are compared."""
    host = canonical_host(text.strip())
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > _LONGEST_NAME or not _HOST_NAME.fullmatch(host):
            raise ValueError("must be host names such as monitoring.example.com: no scheme, port, path or *") from None
    return host


def parse_url(text: str) -> str:
    """Check the URL of a service and return it without a closing slash."""
    text = text.strip()
    if not _is_url(text):
        raise ValueError("must be a URL such as https://tableau.example.com")
    # In a password that is not escaped, a slash ends the host: the rest of it would stand in the path.
    if "@" in text:
        raise ValueError("must not carry a user or a password: they have keys of their own")
    if "?" in text or "#" in text:
        raise ValueError("must end before the query: no ? and no #")
    return text.rstrip("/")


def parse_url_path(text: str) -> str:
    """Read a path below the agent's root; return it with one slash first and none at its end, ``/`` for the root."""
    path = "/" + text.strip().strip("/")
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(path.split("/")):
        raise ValueError("must be a path such as /tableau: letters, digits, - . _ ~ and / between names")
    return path


def crosses_network_in_clear(url: str) -> bool:
    """Whether what is sent to this URL can be read by others on the way."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _is_url(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _host(match: re.Match[str]) -> str | None:
    """Return the host of the match, or None where it is no host."""
    if match["literal"] is None:
        return match["name"] if _NAME.fullmatch(match["name"]) else None
    try:
        return str(ipaddress.IPv6Address(match["literal"]))
    except ValueError:
        return None


def _socket(text: str) -> Endpoint:
    match = _SOCKET.fullmatch(text)
    if match is None:
        raise ValueError("must be the folder of a Unix socket, such as /var/run/postgresql:5432")
    return Endpoint(match["folder"], _port(match["port"] or str(REPOSITORY_PORT), smallest=1))


def _port(text: str, *, smallest: int) -> int:
    port = int(text)
    if not smallest <= port <= 65_535:
        raise ValueError(f"must have a port from {smallest} to 65535")
    return port
