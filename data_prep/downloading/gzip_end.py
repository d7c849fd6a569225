"""Whether a gzip file ends where a member ends, looking at its last bytes only.

A body that was cut on its way to the server has a correct Content-Length and a
wrong end. Archives consist of small members, so the last megabytes suffice; a
file of one large member passes, and its reader counts the damage.
"""

import pathlib
import zlib

_HEAD = b"\x1f\x8b\x08"
_TAIL_BYTES = 4 << 20
_MAX_OUTPUT_BYTES = 64 << 20


def fault_of(path: pathlib.Path) -> str:
    """Returns `cut`, `no gzip` or, where nothing is wrong, an empty string."""
    with open(path, "rb") as file:
        if file.read(len(_HEAD)) != _HEAD:
            return "no gzip"
        size = path.stat().st_size
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(_TAIL_BYTES)
    start = len(tail)
    while (start := tail.rfind(_HEAD, 0, start + len(_HEAD) - 1)) >= 0:
        left = _left_behind_member(tail[start:])
        if left is not None:
            # A member with a right checksum is one, and this is what follows it.
            return "cut" if left else ""
    return "cut" if size <= _TAIL_BYTES else ""


def _left_behind_member(content: bytes) -> int | None:
    """Returns the bytes behind the member that `content` begins with, if it is one."""
    member, produced = zlib.decompressobj(wbits=31), 0
    try:
        while content and not member.eof and produced <= _MAX_OUTPUT_BYTES:
            produced += len(member.decompress(content, 1 << 20))
            content = member.unconsumed_tail
    except zlib.error:
        return None
    if produced > _MAX_OUTPUT_BYTES:
        return 0
    # Zeros behind the last member are padding, which readers skip.
    return len(member.unused_data.strip(b"\0")) if member.eof else None
