"""Bytes decoded as browsers decode them: Python's codecs, mended.

`webencodings` knows the labels of the Encoding Standard, and Python has a codec for
each encoding; but its codecs refuse or map a few sequences otherwise. All sequences
of one and two bytes were compared with Chromium 150 (2026-11). What is left are some
200 rare characters of Big5 (HKSCS-2008) and one of Hebrew that Python does not know.
"""

import codecs
from typing import Any

import webencodings

# The names of the standard whose codecs are not those that `webencodings` takes.
# gbk is read as its superset; the other one reads half-width katakana too.
_CODECS = {
    "gbk": "gb18030",
    "iso-2022-jp": "iso2022_jp_ext",
    # Browsers make one U+FFFD of everything in these.
    "replacement": "",
}
# Two-byte encodings: the lowest and the highest first byte.
_LEADS = {
    "gb18030": (0x81, 0xFE),
    "big5hkscs": (0x81, 0xFE),
    "cp949": (0x81, 0xFE),
    "cp932": (0x81, 0xFC),
    "euc_jp": (0x8E, 0xFE),
}
# Bytes between those that are no first bytes.
_NO_LEADS = {"cp932": range(0xA0, 0xE0), "euc_jp": range(0x90, 0xA1)}
_JIS = str.maketrans("\u301c\u2016\u2212¢£¬", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2")
_TRANSLATIONS: dict[str, dict[int, Any]] = {
    "koi8-u": str.maketrans("\u255d\u256c", "\u045e\u040e"),
    "cp932": str.maketrans(dict.fromkeys("\uf8f0\uf8f1\uf8f2\uf8f3", "\ufffd")),
    "euc_jp": _JIS,
    "iso2022_jp_ext": _JIS,
    "big5hkscs": str.maketrans(
        "\u2022\uff64\u203e\u223c\u2641\u2609¥¢£",
        "\u2027\ufe51\u00af\uff5e\u2295\u2299\uffe5\uffe0\uffe1",
    ),
    # What was private until Unicode had it.
    "gb18030": str.maketrans(
        "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7"
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        "\u3000\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u1e3f"
        "\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
    ),
}


def lookup(label: str) -> str | None:
    """Returns the standard's name of the encoding that a label stands for, if any."""
    if not label.isascii():
        return None
    encoding = webencodings.lookup(label)
    return None if encoding is None else encoding.name


def has_decoder(name: str) -> bool:
    """Returns whether browsers read pages in this encoding at all."""
    return _CODECS.get(name) != ""


def decode(content: bytes, name: str) -> str:
    """Returns the text of bytes; what is no text in the encoding becomes U+FFFD.

    Args:
        content: Without a byte order mark.
        name: An encoding that has a decoder, by the name of the standard.
    """
    if name in ("utf-8", "utf-16le", "utf-16be"):
        return content.decode(name, "replace")
    codec = _CODECS.get(name)
    if codec is None:
        info = webencodings.lookup(name).codec_info
        if name == "x-user-defined":
            return info.decode(content)[0]
        codec = info.name
    text = content.decode(codec, _ERRORS)
    translation = _TRANSLATIONS.get(codec)
    return text.translate(translation) if translation else text


def _as_browsers_do(error: UnicodeError) -> tuple[str, int]:
    """Returns what stands for bytes that Python's codec refuses, and where to go on.

    A browser takes both bytes of a pair that means nothing, unless the second is
    ASCII: that may be the `<` of a tag.
    """
    assert isinstance(error, UnicodeDecodeError)
    content, start, codec = error.object, error.start, error.encoding
    first, second = content[start], content[start + 1 : start + 2]
    if codec == "iso2022_jp_ext":
        if second and 0x21 <= first <= 0x7E and 0x21 <= second[0] <= 0x7E:
            return _jis_character(first, second[0]), start + 2
        return "\ufffd", start + 1
    if codec not in _LEADS:
        # One byte a character: controls stand for themselves.
        return (chr(first) if first < 0xA0 else "\ufffd"), start + 1
    if codec == "gb18030" and first == 0x80:
        return "\u20ac", start + 1
    low, high = _LEADS[codec]
    is_lead = low <= first <= high and first not in _NO_LEADS.get(codec, ())
    if not is_lead or not second or second[0] < 0x80:
        return "\ufffd", start + 1
    if codec == "euc_jp" and first >= 0xA1 and 0xA1 <= second[0] <= 0xFE:
        return _jis_character(first & 0x7F, second[0] & 0x7F), start + 2
    if codec == "euc_jp" and first == 0x8F and 0xA1 <= second[0] <= 0xFE:
        third = content[start + 2 : start + 3]
        return "\ufffd", start + (3 if third and third[0] >= 0x80 else 2)
    return "\ufffd", start + 2


def _jis_character(first: int, second: int) -> str:
    """Returns a character of JIS X 0208 with the additions of NEC and IBM.

    Those are in Python's codec for Shift_JIS only, which orders the same table
    otherwise.
    """
    row, cell = first - 0x20, second - 0x20
    lead = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
    trail = cell + (0x9E if row % 2 == 0 else 0x3F if cell < 64 else 0x40)
    return bytes([lead, trail]).decode("cp932", "replace")[:1]


_ERRORS = "lmcodistill.browser"
codecs.register_error(_ERRORS, _as_browsers_do)
