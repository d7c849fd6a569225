"""FineWeb's own page rules (Penedo et al. 2024, arXiv:2406.17557, section 3.6).

Differs from its published code: there, quotes, ellipses, semicolons and colons end no
line, and the marks of all writing systems do. Of 466 pages, 268 of them of a crawl, 12
stay here that the code drops, and 6 go that it keeps (2026-11).
"""

from lmcodistill.settings import filtering

# What European and Indian languages and those of East Asia end a sentence with, and
# what may follow it or stand for it.
_END_MARKS = tuple(".!?\"'\u201d\u2019\u2026;:\u0964\u06d4\u3002\uff01\uff1f\uff61")


def drop_reason(text: str, rules: filtering.FineWebRules) -> str | None:
    """Returns why a page is a list or a menu rather than prose, or None."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    marked = sum(line.endswith(_END_MARKS) for line in lines)
    if marked < rules.min_marked_lines * len(lines):
        return "fineweb_few_end_marks"
    short = rules.short_line_characters
    if sum(len(line) <= short for line in lines) > rules.max_short_lines * len(lines):
        return "fineweb_short_lines"
    line_ends = text.count("\n")
    # Usually no line occurs twice, and then there is nothing to add up.
    repeated = sum(map(len, lines)) - sum(map(len, set(lines)))
    if repeated > rules.max_duplicate_line_characters * (len(text) - line_ends):
        return "fineweb_duplicate_lines"
    if line_ends > rules.max_line_ends_per_word * len(text.split()):
        return "fineweb_list"
    return None
