"""Templates: files with @{name} where a value belongs."""

import pathlib
import re

_PLACE = re.compile(r"@\{(\w+)\}")


def render(file: str, **values: object) -> str:
    """Returns a template's text with its values.

    A value is put in as it is, so it is quoted before, in the words of the file's
    language. What it holds is never taken for a place of the template.
    """
    text = pathlib.Path(__file__).with_name(file).read_text(encoding="utf-8")
    return _PLACE.sub(lambda place: str(values[place[1]]), text)
