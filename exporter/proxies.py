"""The proxy variables, read in one way for every client: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY.

The libraries disagree about NO_PROXY: requests knows no IPv6 network, httpx no network at all, and with an entry that
it cannot parse it sends nothing. Here each entry stands for itself, and one that means nothing is ignored. Lower-case
names have precedence, as in curl. A loopback address never goes through a proxy, as in Go's
``http.ProxyFromEnvironment``, which Prometheus uses: at the proxy it would be another machine.
"""

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies_environment

from exporter.errors import ProxyUnusable

_SCHEMES = ("http", "https", "socks5", "socks5h")
_PORTS = {"http": 80, "https": 443}
_SEPARATOR = re.compile(r"[,\s]+")
_BRACKETS = re.compile(r"^\[([^\]]*)\](?=/|$)")
_NAME = re.compile(r"[\w.-]+")
_ENTRY = re.compile(r"(?:(?P<scheme>\w+)://)?(?P<host>\[[^\]]*\]|[^:/\[\]]*)(?::(?P<port>[0-9]{1,5}))?")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Proxy:
    """A proxy: the URL that a client needs, user and password escaped in it, and the one that a line may show."""

    url: str = field(repr=False)
    place: str


@dataclass(frozen=True)
class _Target:
    """Where a request goes: ``host`` is a name in small letters, or an address."""

    scheme: str
    host: str | _Address
    port: int | None


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that the environment names for a URL, None for a direct connection. Raises ProxyUnusable."""
    target, variables = _target(url), getproxies_environment()
    name = target.scheme if target.scheme in variables else "all"
    if name not in variables or _is_loopback(target.host):
        return None
    if any(_exempts(entry, target) for entry in _SEPARATOR.split(variables.get("no", ""))):
        return None
    return _parse(f"{name.upper()}_PROXY", variables[name])


def through(url: str) -> str:
    """Return how a line about a URL goes on: it names the proxy without its credentials, or is empty."""
    try:
        proxy = proxy_for(url)
    except ProxyUnusable:
        return ""
    return f": through the proxy {proxy.place}" if proxy else ""


def passwords() -> tuple[str, ...]:
    """Return the passwords of the proxies as written, as meant and as sent, also where a proxy cannot be parsed."""
    variables, found = getproxies_environment(), list[str]()
    for name in ("http", "https", "all"):
        userinfo = variables.get(name, "").rpartition("@")[0].rpartition("://")[2].strip()
        user, mark, password = userinfo.partition(":")
        pair = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        found += [password, unquote(password), pair] if mark else [user, unquote(user)]
    return tuple(dict.fromkeys(filter(None, found)))


def _parse(variable: str, text: str) -> Proxy:
    """Read a proxy's URL; no message repeats it, for what cannot be parsed may be a password."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        place, userinfo = _place(parts), parts.netloc.rpartition("@")[0]
    except ValueError:
        place = userinfo = ""
    if not place:
        raise ProxyUnusable(
            f"{variable} is no proxy that can be used: give http://host:port, the reserved characters of a user and"
            " a password escaped (/ as %2F, @ as %40)"
        )
    if not userinfo:
        return Proxy(place, place)
    escaped = ":".join(quote(unquote(part), safe="") for part in userinfo.split(":", 1))
    return Proxy(place.replace("://", f"://{escaped}@", 1), place)


def _place(parts: SplitResult) -> str:
    """Return scheme, host and port of a proxy; empty where it is none. Raises ValueError."""
    host, port = parts.hostname or "", parts.port
    # An unescaped password has its end, and the host, behind the first slash.
    if parts.scheme not in _SCHEMES or port == 0 or "@" in parts.path + parts.query + parts.fragment:
        return ""
    if ":" in host:
        host = f"[{ipaddress.IPv6Address(host)}]"
    elif not _NAME.fullmatch(host):
        return ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


def _target(url: str) -> _Target:
    parts = urlsplit(url)
    return _Target(parts.scheme, _host(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme))


def _host(text: str) -> str | _Address:
    """Return an address, an IPv4 one also where it is written as IPv6 and without its zone, or a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text.lower().strip(".")
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str | _Address) -> bool:
    return host == "localhost" if isinstance(host, str) else host.is_loopback


def _exempts(entry: str, target: _Target) -> bool:
    """Whether an entry of NO_PROXY covers a target; an invalid one covers none."""
    if entry == "*":
        return True
    if isinstance(target.host, str):
        return _covers_name(entry, target, target.host)
    try:
        network = ipaddress.ip_network(_BRACKETS.sub(r"\1", entry), strict=False)
    except ValueError:
        match = _matched(entry, target)
        return match is not None and _host(match.strip("[]")) == target.host
    return target.host in network


def _covers_name(entry: str, target: _Target, host: str) -> bool:
    match = _matched(entry, target)
    name = (match or "").removeprefix("*").lower().strip(".")
    return bool(name) and f".{host}".endswith(f".{name}")


def _matched(entry: str, target: _Target) -> str | None:
    """Return the host of an entry where its scheme and its port, if it has them, are those of the target."""
    match = _ENTRY.fullmatch(entry)
    if match is None or match["scheme"] not in {None, "all", target.scheme}:
        return None
    return match["host"] if match["port"] is None or int(match["port"]) == target.port else None
