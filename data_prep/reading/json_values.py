"""The values of a JSON file that is not one of lines, one at a time.

An array of objects, or objects written over several lines. A file may be larger
than memory and one bad value must not cost the others, so values are told apart
by their brackets and quotes alone; whoever reads one parses it.
"""

import re
from collections.abc import Iterable, Iterator

# Brackets outside a value are those of the array that it is in.
_BEGIN = re.compile(rb"[^\s,\[\]]")
_BARE_END = re.compile(rb"[\s,\[\]{]")
_BRACKET = re.compile(rb'["{}\[\]]')
_QUOTE = re.compile(rb'["\\]')
_OPEN, _CLOSE = b"{[", b"}]"


def split(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """Yields the bytes of each value; None for one of more than `max_bytes`.

    Args:
        chunks: The file, cut anywhere.
        max_bytes: Bounds the memory that is needed.

    Raises:
        EOFError: the file ends within a value or within its array.
    """
    value, is_large = bytearray(), False
    in_value = in_string = is_escaped = False
    depth = arrays = 0

    def keep(piece: bytes) -> None:
        nonlocal is_large
        is_large = is_large or len(value) + len(piece) > max_bytes
        if not is_large:
            value.extend(piece)

    for chunk in chunks:
        at = begin = 0
        while at < len(chunk):
            if is_escaped:
                at, is_escaped = at + 1, False
                continue
            if not in_value:
                found = _BEGIN.search(chunk, at)
                stop = found.start() if found else len(chunk)
                outside = chunk[at:stop]
                arrays += outside.count(b"[") - outside.count(b"]")
                at = begin = stop
                if not found:
                    break
                in_value, depth = True, 0
                value.clear()
                is_large = False
                is_bracket, in_string = found[0] == b"{", found[0] == b'"'
                if is_bracket or in_string:
                    at, depth = at + 1, int(is_bracket)
                    continue
            if in_string:
                found = _QUOTE.search(chunk, at)
            else:
                found = (_BRACKET if depth else _BARE_END).search(chunk, at)
            if not found:
                break
            at = found.end()
            is_over = False
            if in_string:
                is_escaped = found[0] == b"\\"
                in_string = is_escaped
                is_over = not in_string and not depth
            elif not depth:
                at, is_over = found.start(), True
            elif found[0] == b'"':
                in_string = True
            else:
                depth += 1 if found[0] in _OPEN else -1
                is_over = not depth
            if is_over:
                keep(chunk[begin:at])
                yield None if is_large else bytes(value)
                in_value = False
        if in_value:
            keep(chunk[begin:])
    if in_value and (depth or in_string):
        raise EOFError
    if in_value:
        yield None if is_large else bytes(value)
    if arrays > 0:
        raise EOFError
