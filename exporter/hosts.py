"""Names and addresses of hosts: one spelling to compare them by, and which of them stay on this machine."""

import ipaddress


def canonical_host(text: str) -> str:
    """Return a name in small letters and without a dot at its end, an address as Python writes it.

    An IPv6 address may stand in brackets; one that stands for an IPv4 address becomes that address.
    """
    name = text.lower().removesuffix(".")
    literal = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        address = ipaddress.ip_address(literal)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_loopback(host: str) -> bool:
    """Whether this is localhost, or an address that stays on this machine."""
    host = canonical_host(host)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
