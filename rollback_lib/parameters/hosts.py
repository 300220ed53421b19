"""Which machine an address leads to, decided from its text alone.

- A drill takes an address only if it is loopback beyond doubt: 127.0.0.0/8 written out, ::1, or localhost.
- Outside drills an address is refused if it is not https, or if some reader of it might end on this machine.
- Nothing is looked up: a public name that its owner points to 127.0.0.1 is not recognised.
- No address carries a user, a password, a query or a fragment.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["HOLE", "Address", "address_of", "fault_in_drill", "fault_outside_drills", "template_of"]

HOLE = "{url}"  # in a template, the place of a deployment's own host name
HIGHEST_PORT = 65535

_PARTS = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#\\]*)(?P<path>/[^?#]*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_VISIBLE = re.compile(r"[!-~]+")  # printable ASCII without the space
_NUMERIC_END = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)")
_LOCAL_NAMES = ("localhost", "localdomain", "localhost6", "localdomain6", "ip6-localhost", "ip6-loopback")


@dataclass(frozen=True)
class Address:
    """An address taken apart; `host` is `{url}` where a template has its hole there."""

    scheme: str
    host: str
    path: str


def address_of(text: str) -> Address:
    """Take an address apart.

    Raises:
        ValueError: Not plain http(s)://host[:port][/path]; the sentence does not repeat the address.
    """
    if _VISIBLE.fullmatch(text) is None:
        raise ValueError("must be an address in plain ASCII without spaces, such as https://api.vercel.com")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError("must be an address such as https://api.vercel.com, without ? or # part")
    if "@" in parts["authority"]:
        raise ValueError("must carry no user or password before the host")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None or int(authority["port"] or 1) not in range(1, HIGHEST_PORT + 1):
        raise ValueError("must have a host name after ://, and a port up to 65535 if any")
    return Address(parts["scheme"], authority["host"].lower(), parts["path"] or "")


def template_of(text: str) -> Address:
    """Take a template such as https://{url} apart.

    Raises:
        ValueError: Not an address with one `{url}`, which is the whole host or stands in the path.
    """
    if text.count(HOLE) != 1 or any(sign in text.replace(HOLE, "") for sign in "{}"):
        raise ValueError("must hold {url} exactly once and no other braces, such as https://{url}")
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if HOLE not in authority:
        # Only then is the host fixed; the hole may be filled with anything behind it.
        filled = address_of(text.replace(HOLE, "deployment"))
        return Address(filled.scheme, filled.host, slash + path)
    if authority != HOLE:
        raise ValueError("must have {url} as the whole host, or in the path after a fixed host")
    address_of(f"{scheme}://deployment{slash}{path}")
    return Address(scheme, HOLE, slash + path)


def fault_in_drill(address: Address) -> str | None:
    """Say what keeps a drill from using the address; None if it is loopback beyond doubt."""
    if _is_loopback(address.host):
        return None
    return "is not loopback: a drill talks to 127.0.0.0/8, [::1] or localhost only"


def fault_outside_drills(address: Address) -> str | None:
    """Say what keeps production or staging from using the address; None if nothing does."""
    if address.scheme != "https":
        return "must be https outside drills"
    if address.host != HOLE and _may_be_this_machine(address.host):
        return "leads to this machine: loopback is for drills only"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _may_be_this_machine(host: str) -> bool:
    if host.startswith("["):
        return _odd_v6(host[1:-1])
    last = host.rstrip(".").rpartition(".")[2]
    if last in _LOCAL_NAMES or not last:
        return True
    if _NUMERIC_END.fullmatch(last) is None:
        return False
    try:
        plain = ipaddress.IPv4Address(host)
    except ValueError:
        return True  # 2130706433, 0x7f.1, 127.1, 0177.0.0.1: readers differ, so nobody gets it
    return plain.is_loopback or plain.is_unspecified or plain.is_link_local or plain.is_multicast


def _odd_v6(text: str) -> bool:
    try:
        plain = ipaddress.IPv6Address(text)
    except ValueError:
        return True
    embeds_v4 = plain.ipv4_mapped is not None or plain.sixtofour is not None or int(plain) >> 32 == 0
    translated = plain in ipaddress.IPv6Network("64:ff9b::/96")
    return embeds_v4 or translated or plain.is_loopback or plain.is_link_local or plain.is_multicast
