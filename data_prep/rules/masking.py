"""Replaces personal data by stand-ins that are reserved for examples.

Addresses and numbers are recognised by their form and what stands around them, and
are replaced whole: names stay, and so do numbers in an unusual form.
`tests/unit/data_prep/masking_rows.txt` has what is masked and what is not.
"""

import collections
import ipaddress
import re
from collections.abc import Callable

from lmcodistill.settings import filtering

EMAIL = "email@example.com"
IPV4, IPV6 = "192.0.2.1", "2001:db8::1"
PHONE = "+1 555 0100"

# RFC 5322 allows `/=?&` too, which stand before an address in links and logs.
_LOCAL = r"""[\w+$!%\#~](?:[\w.+'\u2019$!%\#~*^`|-]{0,127})"""
_EMAIL = re.compile(
    rf"""(?<![\w+$!%\#~])
    (?: {_LOCAL} | "[^"\n@]{{1,64}}" | \{{[^{{}}\n@]{{1,200}}\}} )  # {{a,b}}@cs.edu
    [@\uff20]
    (?! \d{{1,2}}x\.(?:png|jpe?g|gif|webp|svg)\b )  # logo@2x.png
    (?: (?: [^\W_](?:[\w-]{{0,61}}[^\W_])? [.\u3002\uff0e] ){{1,8}}
        (?: xn--[a-zA-Z0-9-]{{2,59}} | [^\W\d_][^\W\d_\u0300-\u036f]{{1,23}} )
        (?! [^\W_] )
      | \[(?:IPv6:)?[0-9A-Fa-f:.]{{3,45}}\] )""",
    re.VERBOSE | re.IGNORECASE,
)
_IPV4 = re.compile(
    r"(?<![\w.])(?<![A-Za-z]/)(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-(?:alpha|beta|rc|dev))"
    r"(?!,\d{1,2}(?![\d.]))",  # tricyclo[3.3.1.13,7]decane
    re.ASCII,
)
_IPV6 = re.compile(
    r"(?=[0-9A-Fa-f:])(?:(?<![\w:.])|(?<=[vVpP]6:)|(?<=[iI][pP]:)|(?<=addr:)|(?<=address:)|(?<=host:))"
    r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}"
    r"(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3}|(?<=:\d)(?:\.\d{1,3}){3}"
    r"|(?<=:\d\d)(?:\.\d{1,3}){3}|(?<=:\d\d\d)(?:\.\d{1,3}){3})?"
    r"(?:%[\w.-]{1,15}(?<![.-]))?(?![\w:]|\.\d)",
)
_MIN_HEX_DIGITS = 4  # `x[1::2]` is a slice.
# Numbers with dots that these come before are no addresses.
_NUMBERED = re.compile(
    r"(?:\b(?:versions?|release|firmware|build|rev|revision|driver|software|update|v"
    r"|patch|chapter|section|sections|clause|article|figure|fig|table|rule|item|step"
    r"|appendix|lemma|theorem|oid)\b[.:]?|\u00a7{1,2}|[<>=~!]=|~>|\^)\s*\Z",
    re.IGNORECASE,
)
_CONTEXT = 20

_GAP = r"[ \u00a0\u202f.()/\u2010-\u2013-]{0,3}"
_EXTENSION = r"(?:[ ,;]{0,2}(?:ext(?:ension)?\.?|x|\#)[ ]?\d{1,6})?"
_BEFORE = r"(?<![\w.+$\u20ac\u00a3\u00a5-])(?<!\d,)(?<![$\u20ac\u00a3\u00a5][ ])"
# Not in the middle of a number, nor what a sum or an amount goes on with.
_AFTER = (
    r"(?!\w|[.,:-]\d|[ ]?[=%$\u20ac\u00a3\u00a5*\u00d7]"
    r"|[ ](?:EUR|USD|GBP|euros?|dollars|points|percent)\b)"
)
_INTERNATIONAL = re.compile(
    rf"{_BEFORE}(?:\(\+\d{{1,3}}\)|\+\d|(?<!/)00[1-9]\d{{0,2}}(?=[ \u00a0.()/-]))"
    rf"(?:{_GAP}\d){{3,24}}{_EXTENSION}{_AFTER}"
)
_NORTH_AMERICAN = re.compile(
    rf"{_BEFORE}(?:(?:\+?1[ \u00a0.-]?)?"
    r"\(\d{3}\)[ \u00a0.-]{0,2}\d{3}[ .-]?\d{4}"
    rf"|(?:1[ .-])?\d{{3}}(?:-|[ ]-[ ])\d{{3}}(?:-|[ ]-[ ])\d{{4}}"
    rf"|(?:1[ .])?[2-9]\d\d[ \u00a0./][2-9]\d\d[ \u00a0.-]\d{{4}}){_EXTENSION}{_AFTER}"
)
_DATE = re.compile(r"\D*(?:19|20)\d\d([.-])[01]\d\1[0-3]\d\Z")
# E.164: of the longest number there is.
_MAX_DIGITS, _MIN_DIGITS = 15, 8


def mask(
    text: str, settings: filtering.Masking
) -> tuple[str, collections.Counter[str]]:
    """Returns `text` with stand-ins, and how many of each kind."""
    counts = collections.Counter[str]()

    def replace(
        pattern: re.Pattern[str],
        kind: str,
        masked: Callable[[re.Match[str]], str | None],
    ) -> None:
        def counted(match: re.Match[str]) -> str:
            stand_in = masked(match)
            if stand_in is None:
                return match.group()
            counts[kind] += 1
            return stand_in

        nonlocal text
        text = pattern.sub(counted, text)

    if settings.emails and ("@" in text or "\uff20" in text):
        replace(_EMAIL, "email", lambda match: EMAIL)
    if settings.ip_addresses:
        if text.count(":") > 1:
            replace(_IPV6, "ip_address", _mask_ipv6)
        replace(_IPV4, "ip_address", _mask_ipv4)
    if settings.phone_numbers:
        replace(_INTERNATIONAL, "phone_number", _mask_international)
        replace(_NORTH_AMERICAN, "phone_number", lambda match: PHONE)
    return text, counts


def _mask_ipv4(match: re.Match[str]) -> str | None:
    address = match.group()
    before = match.string[max(0, match.start() - _CONTEXT) : match.start()]
    if any(int(part) > 255 for part in address.split(".")) or _NUMBERED.search(before):
        return None
    return IPV4


def _mask_ipv6(match: re.Match[str]) -> str | None:
    # A form is not enough: clock times and names with colons may have it.
    found = match.group()
    address = found.removesuffix(":") if not found.endswith("::") else found
    parts = address.split(":")
    if (
        sum(c in "0123456789abcdefABCDEF" for c in address) < _MIN_HEX_DIGITS
        or not any(map(str.isdigit, address))
        or {len(part) for part in parts} == {2}  # Bytes of a key or of a card.
    ):
        return None
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return IPV6 + found[len(address) :]


def _mask_international(match: re.Match[str]) -> str | None:
    number = match.group()
    before = match.string[max(0, match.start() - 3) : match.start()].rstrip()
    groups = re.findall(r"\d+", number)
    digits = len("".join(groups))
    is_grouped = len(groups) > 1
    thousands = len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    if (
        digits < _MIN_DIGITS
        or number.lstrip("(+").startswith("0") != number.startswith("00")
        # `+1 2 3 4 5 6 7 8 9` are numbers of a row.
        or sum(len(group) == 1 for group in groups) > 2
        # `+12 345 678` and `+1.234.567.890` are amounts.
        or (is_grouped and thousands and digits < (11 if "." in number else 10))
        # `+48.856614` is a place on the map.
        or (len(groups) == 2 and "." in number and len(groups[1]) > 4)
        or (not is_grouped and before[-1:].isdigit())
        or _DATE.match(number)
        or (not is_grouped and digits > _MAX_DIGITS)
    ):
        return None
    return PHONE + ("" if digits <= _MAX_DIGITS else _beyond(number))


def _beyond(number: str) -> str:
    """Returns what comes behind the groups that make up a number of full length."""
    digits, end = 0, 0
    for group in re.finditer(r"\d+", number):
        digits += len(group.group())
        if digits > _MAX_DIGITS:
            return number[end:]
        end = group.end()
    return ""
