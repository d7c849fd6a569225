"""Pages that are left out by their host: block lists of any length.

Hosts are kept as sorted 64-bit hashes, eight bytes each, so that a list of four
million costs 32 MB in every worker. That a host on no list is taken for another
one has a chance of one in 10^12 per page and list of that length.

A host is compared in the form that goes over the wire: lower case, international
names in Punycode. A line that names none is refused, because the page that it was
meant for would be kept.
"""

import functools
import ipaddress
import pathlib
import re
from collections.abc import Iterator
from urllib import parse

import idna
import numpy as np

from data_prep import documents, words
from data_prep.reading import compressed
from lmcodistill import errors
from lmcodistill.settings import filtering
from lmcodistill.storage import files

_PLAIN = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}\s*")


def drop_reason(url: str, rules: filtering.UrlRules) -> str | None:
    """Returns `blocked_url` if the page's host, or one above it, is on the list.

    Args:
        url: The page's address; empty for what is no page.
        rules: Which list; it may be none.

    Raises:
        DataError: the list cannot be read.
    """
    if not url or not rules.blocked_hosts:
        return None
    listed, host = _load(rules.blocked_hosts), wire_form(documents.host_of(url))
    # Of `a.b.c`, `b.c` and `c`; an address of numbers has nothing below it.
    labels = [host] if _is_address(host) else host.split(".")
    names = (".".join(labels[i:]) for i in range(len(labels)))
    keys = np.fromiter(map(_key, names), np.uint64)
    places = np.minimum(np.searchsorted(listed, keys), len(listed) - 1)
    return "blocked_url" if np.any(listed[places] == keys) else None


def digest_of(blocked_hosts: str) -> str:
    """Returns the SHA-256 of a block list's file, empty without one.

    Raises:
        DataError: it cannot be read.
    """
    if not blocked_hosts:
        return ""
    try:
        return files.sha256_of(pathlib.Path(blocked_hosts))
    except OSError as error:
        raise _unreadable(blocked_hosts, error.strerror) from error


@functools.lru_cache(maxsize=1)
def _load(blocked_hosts: str) -> np.ndarray:
    try:
        keys = np.fromiter(map(_key, _read(pathlib.Path(blocked_hosts))), np.uint64)
    except (OSError, *compressed.DAMAGE) as error:
        raise _unreadable(blocked_hosts, error) from error
    if not len(keys):
        raise _unreadable(blocked_hosts, "it names no host")
    return np.unique(keys)


def wire_form(host: str) -> str:
    """Returns a host as it is asked for: `xn--mller-kva.example` for a u-umlaut."""
    host = parse.unquote(host).lower().rstrip(".")
    if not host.isascii():
        try:
            return idna.encode(host, uts46=True).decode()
        except idna.IDNAError:  # Registered all the same: emoji, underscores.
            labels = re.split("[.\u3002\uff0e\uff61]", host)
            return ".".join(map(_punycode, labels)).strip(".")
    if _is_address(host):
        return str(ipaddress.ip_address(host))
    return host


def _punycode(label: str) -> str:
    if label.isascii():
        return label
    return f"xn--{label.encode('punycode').decode()}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _read(path: pathlib.Path) -> Iterator[str]:
    with compressed.open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if _PLAIN.fullmatch(line):
                yield line.rstrip().decode()
                continue
            try:
                fields = line.decode("utf-8-sig").partition("#")[0].split()
                # A hosts file has any number of names behind an address.
                if len(fields) > 1 and _is_address(fields[0]):
                    del fields[0]
                elif len(fields) > 1:
                    raise ValueError
                yield from map(_listed_host, fields)
            except ValueError as error:
                shown = errors.printable(line[:80].decode("utf-8", "replace"), kept="")
                raise _unreadable(
                    str(path), f"line {number} names no host: {shown.strip()!r}"
                ) from error


def _listed_host(name: str) -> str:
    """Returns the host that a list names.

    Raises:
        ValueError: it names none, or one page of one.
    """
    # Without a port or brackets, these colons are an address's own.
    rest = f"[{name}]" if _is_address(name) and ":" in name else name
    address = parse.urlsplit(rest if "//" in rest else f"//{rest}")
    if address.path not in ("", "/") or address.query or not address.hostname:
        raise ValueError
    _ = address.port  # Which raises if it is none.
    host = wire_form(re.sub(r"^\*?\.", "", address.hostname))
    if not (_PLAIN.fullmatch(host.encode()) or _is_address(host)):
        raise ValueError
    return host


def _key(host: str) -> int:
    return words.hash64(host.encode(errors="replace"))


def _unreadable(path: str, why: object) -> errors.DataError:
    return errors.DataError(
        f"BLOCKED_HOSTS = {path!r} cannot be read: {why}. Give a file of hosts such as "
        "ads.example.com, one a line, plain or compressed, or '' to block nothing."
    )
