"""Names that somebody wrote to leave the output folder, or to steer a terminal."""

import os
import pathlib

from tests.support import crawl

FLAGS = (
    "--num_workers=1",
    "--gin.VOCAB_TYPE='bpe'",
    "--gin.VOCAB_SIZE=330",
    "--gin.VALIDATION_FRACTION=0.2",
    "--gin.LANGUAGE=''",
    "--gin.KEEP_DOCUMENTS=True",
    "--gin.DROPPED_SAMPLES=9",
)
STEMS = (
    "../../escaped",
    "..",
    "/escaped",
    "/etc/passwd",
    "a/../../../escaped",
    "..\\..\\escaped",
    "%2e%2e%2fescaped",
    "\0/../escaped",
    "x\0.txt",
    "new\nline",
    "warning: forged\nwarning: all is well",
    "back\rspace\b\b\b",
    "\x1b[2J\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link",
    "\x9b31m",
    "\u202egpj.exe",
    "\u2066\u2069\ufeff\u200b",
    "\u2028\u2029",
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "&lt;&#60;&amp;",
    "[bold red]rich[/bold red]",
    "{0} {name!r} %s %(x)s",
    "$(touch escaped) `touch escaped`",
    "; touch escaped",
    "-rf",
    "--output_dir=escaped",
    "~root",
    "C:\\escaped",
    "CON",
    "manifest.json",
    ".work",
    ".hidden",
    "file://etc",
    "\u212a\u017f\u2025\uff0f",
    "\U0001f600" * 40,
    "e\u0301" * 50,
    "x" * 200,
    "long" * 5_000,
    "\ufffd\ufffe\uffff",
)


def file_names():
    """Returns those that a file system takes, as bytes, and some not UTF-8."""
    for stem in STEMS:
        name = stem.replace("/", "_").replace("\0", "_").encode()[:200]
        # A hidden file is left alone.
        yield (name.lstrip(b".") or b"dots") + b".warc.wet.gz"
    yield from (
        b"\xff\xfe.warc.wet.gz",
        b"\\xff\\xfe.warc.wet.gz",
        b"\xc3\x28.warc.wet",
    )


def named_page(number, name):
    """Returns a page whose record id and address are this name."""
    page = crawl.page(number).replace(b"\r\n\r\nThe", b"\r\n@\r\n\r\nThe", 1)
    name = name.encode().replace(b"\n", b"%0a").replace(b"\r", b"%0d")
    url = f"http://example.org/{number}".encode()
    return (
        page.replace(b"<urn:uuid:" + url + b">", name)
        .replace(url, name if number % 2 else b"http://" + name)
        .replace(
            b"\r\n@\r\n",
            b"\r\nWARC-Identified-Content-Language: " + name[:99] + b"\r\n",
        )
    )


def tree(folder):
    return {os.fsencode(path) for path in folder.rglob("*")}


def test_two_hundred_crafted_names_write_nothing_outside_and_reach_no_terminal(
    tmp_path, lmcodistill
):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    names = list(file_names())
    for number, name in enumerate(names):
        # Cut, so that a warning names every file.
        members = crawl.wet([1_000 + 2 * number, 1_001 + 2 * number], language="")
        with open(os.path.join(os.fsencode(inputs), name), "wb") as file:
            file.write(b"".join(members)[:-30])
    records = STEMS * 4
    pages = b"".join(named_page(i, name) for i, name in enumerate(records))
    (inputs / "records.warc.wet").write_bytes(pages)
    before = tree(tmp_path)
    assert len(names) + len(records) >= 200

    done = lmcodistill(
        "prep", f"--input={inputs}", f"--output_dir={tmp_path / 'data'}", *FLAGS
    )
    shown = lmcodistill("inspect", str(tmp_path / "data"))

    assert done.returncode == 0, done.stderr
    assert shown.returncode == 0, shown.stderr
    made = tree(tmp_path) - before - {os.fsencode(tmp_path / "working_directory")}
    assert all(path.startswith(os.fsencode(tmp_path / "data")) for path in made)
    assert not any(b"escaped" in path for path in made)
    # Every file is there under a name of its own, and was warned of.
    assert done.stderr.count("ends in the middle of a record") == len(names)
    for text in (done.stderr, done.stdout, shown.stdout, shown.stderr):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "\nwarning: all is well" not in done.stderr
    assert_escaped(tmp_path / "data" / "report.html")


def assert_escaped(path: pathlib.Path):
    page = path.read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert" in page


def test_strict_ends_with_status_3_and_names_the_damaged_file(tmp_path, lmcodistill):
    content = b"".join(crawl.wet(range(30)))
    (tmp_path / "whole.warc.wet.gz").write_bytes(content)
    (tmp_path / "cut\x1b[2J.warc.wet.gz").write_bytes(content[:-50])
    arguments = [f"--input={tmp_path}/*.gz", f"--output_dir={tmp_path / 'd'}", *FLAGS]

    refused = lmcodistill("prep", *arguments, "--strict")
    mild = lmcodistill("prep", *arguments)

    assert (refused.returncode, mild.returncode) == (3, 0)
    assert "1 of 2 input file(s) are damaged or cut (cut\\x1b[2J" in refused.stderr
    assert "\x1b" not in refused.stderr
    assert "ends in the middle of a record" in mild.stderr
