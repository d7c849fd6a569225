"""Replaces personal data by stand-ins that are reserved for examples.

Addresses and numbers are recognised by their form alone: names stay, and so do
numbers in an unusual form.
"""

import collections
import ipaddress
import re

from lmcodistill.settings import filtering

EMAIL = "email@example.com"
IPV4, IPV6 = "192.0.2.1", "2001:db8::1"
PHONE = "+1 555 0100"

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w+-](?:[\w.+-]{0,63})@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}"  # +44 20 7946 0958
    r"|(?:1[ .-])?\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}"  # (212) 555-0100
    r")(?![\w]|[.-]\d)"
)


def mask(
    text: str, settings: filtering.Masking
) -> tuple[str, collections.Counter[str]]:
    """Returns `text` with stand-ins, and how many of each kind."""
    counts = collections.Counter[str]()
    if settings.emails and "@" in text:
        text, counts["email"] = _EMAIL.subn(EMAIL, text)
    if settings.ip_addresses:
        text = _mask_addresses(text, counts)
    if settings.phone_numbers:
        text, counts["phone_number"] = _PHONE.subn(PHONE, text)
    return text, +counts


def _mask_addresses(text: str, counts: collections.Counter[str]) -> str:
    def stand_in(match: re.Match[str]) -> str:
        # A form is not enough: clock times and names with colons may have it.
        address = match.group()
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return address
        if not any(map(str.isdigit, address)):
            return address
        counts["ip_address"] += 1
        return IPV4 if version == 4 else IPV6

    text = _IPV4.sub(stand_in, text)
    return _IPV6.sub(stand_in, text) if text.count(":") > 1 else text
