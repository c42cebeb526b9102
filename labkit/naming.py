"""Names, addresses, MACs, numbers and commands: what is allowed, and what is made up if none is."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import shlex
from pathlib import Path
from typing import TypeGuard

from labkit.errors import LabkitError

KERNEL_NAME = 15
"""The longest interface name the kernel takes (IFNAMSIZ, 16, counts the closing NUL)."""

SHOWN = 200
"""Characters of a value that a message shows."""

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def shown(value: object) -> str:
    """What somebody gave, for a message: in one short line, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (a class of the notebook's may do anything; so a huge number)
        return f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string that a command or a file's name can hold."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def check_name(name: object, what: str) -> str:
    """A host's or bridge's name, as given. Raises LabkitError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LabkitError(
            f"{shown(name)} cannot be the name of a {what}.",
            hint="Use 1 to 63 letters, digits, dots, dashes or underscores, and begin with a "
            "letter or digit: nginx-1, for example.",
        )
    return name


def interface_name(name: str) -> str:
    """The name itself, or a short and stable one where it is too long for the kernel."""
    if len(name) <= KERNEL_NAME:
        return name
    return f"{name[:8]}{_digest(name)[:7]}"


def port_name(*parts: str) -> str:
    """The name of a bridge-side end: veth and 7 hex digits, the same on every run."""
    return "veth" + _digest(*parts)[:7]


def made_mac(*parts: str) -> str:
    """A stable, locally administered unicast MAC (IEEE 802: the 2 in the first octet)."""
    digits = _digest("mac", *parts)
    octets = [int(digits[i : i + 2], 16) for i in range(0, 12, 2)]
    octets[0] = octets[0] & 0xFC | 0x02
    return ":".join(f"{octet:02x}" for octet in octets)


def mac_for(address: Address | None, *parts: str) -> str:
    """02:42 and the four octets of an IPv4 address, as Docker long did; else a made-up one."""
    if address is None or address.version != 4:
        return made_mac(*parts)
    return "02:42:" + address.ip.packed.hex(":")


def check_mac(mac: object) -> str:
    """A unicast MAC in the kernel's spelling. Raises LabkitError."""
    text = mac.lower().replace("-", ":") if isinstance(mac, str) else ""
    if not _MAC.fullmatch(text) or int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise LabkitError(
            f"{shown(mac)} cannot be the MAC of an interface.",
            hint="Write six pairs of hex digits, the first of them even: 02:00:00:00:00:01.",
        )
    return text


def check_address(text: object) -> Address:
    """An address with its prefix length. Raises LabkitError."""
    if isinstance(text, str) and "%" not in text:  # a zone is no part of what an interface has
        try:
            address = ipaddress.ip_interface(text.strip())
        except ValueError:
            pass
        else:
            return _with_prefix(text.strip(), address)
    raise LabkitError(
        f"{shown(text)} is not an IP address with a prefix length.",
        hint="Write it like 172.17.0.2/16.",
    )


def _with_prefix(text: str, address: Address) -> Address:
    if "/" not in text:
        raise LabkitError(
            f"{text!r} has no prefix length, so the kernel could not tell who is on the same "
            "network.",
            hint=f"Write {text}/16 if its first two numbers name the network, "
            f"{text}/24 if its first three do.",
        )
    network = address.network
    wide = network.prefixlen < network.max_prefixlen - 1
    if address.ip.is_multicast or address.ip.is_unspecified:
        raise LabkitError(
            f"{text!r} cannot be given to an interface: it is not the address of one host.",
            hint=f"Choose one like 172.17.0.2/{network.prefixlen}.",
        )
    if address.version == 4 and wide:
        for special, what in (
            (network.network_address, "names the network itself"),
            (network.broadcast_address, "is the network's broadcast address"),
        ):
            if address.ip == special:
                raise LabkitError(
                    f"{text!r} cannot be given to a host: it {what}.",
                    hint=f"Choose one between, like {network.network_address + 2}"
                    f"/{network.prefixlen}.",
                )
    return address


def address_text(value: object) -> str:
    """The text of an address or network, given as text or as a value of `ipaddress`.

    Raises ValueError for all else: `str` of just anything may be anything.
    """
    known = (*(str, ipaddress.IPv4Network, ipaddress.IPv6Network), *IP.__args__)
    text = str(value) if isinstance(value, known) else "%"
    if "%" in text:  # a zone: an interface's name, which is given apart
        raise ValueError("not an address")
    return text


def check_command(command: object) -> tuple[tuple[str, ...], str]:
    """What to execute for a line or a list of words, and how to name it. Raises LabkitError."""
    if is_text(command) and command.strip():
        return ("sh", "-c", command), command
    if isinstance(command, list | tuple) and command and all(map(is_text, command)):
        return tuple(command), shlex.join(command)
    raise LabkitError(
        f"{shown(command)} is not a command.", hint='Write it as in a terminal: "ip route".'
    )


def check_number(value: object, what: str, low: float, high: float) -> float:
    """A number within bounds. Raises LabkitError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise LabkitError(
            f"{what} cannot be {shown(value)}.", hint=f"Use a number from {low} to {high}."
        )
    return value


def check_whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises LabkitError."""
    number = check_number(value, what, low, high)
    if number != int(number):
        raise LabkitError(f"{what} cannot be {number!r}.", hint="Use a whole number.")
    return int(number)


def check_time(value: object) -> int:
    """A time, or an event's number: a whole number. Raises LabkitError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise LabkitError(
            f"{shown(value)} is neither a time nor an event's number.",
            hint="Times are whole nanoseconds since the epoch: time.time_ns(), or an event's .at.",
        )
    return value


def check_path(value: object) -> Path:
    """Where a file is, or is to be. Raises LabkitError."""
    if not isinstance(value, Path) and not is_text(value):
        raise LabkitError(
            f"{shown(value)} is not the name of a file.", hint='Write it like "lesson.labkit".'
        )
    path = Path(value)
    if not is_text(str(path)) or not path.name:
        raise LabkitError(
            f"{shown(str(path))} is not the name of a file.", hint='Write it like "lesson.labkit".'
        )
    return path


def check_flag(value: object, what: str) -> bool:
    """True or False. Raises LabkitError."""
    if not isinstance(value, bool):
        raise LabkitError(f"{what} cannot be {shown(value)}.", hint="Use True or False.")
    return value


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
