import html.parser

from lmcodistill.report import pages


class Tags(html.parser.HTMLParser):
    """Collects tags and cells, and what a page would fetch or run."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.fetched = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        self.fetched += [v for n, v in attributes if n in ("src", "href", "onload")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_closes_what_it_opens_and_fetches_nothing():
    tags = Tags(
        pages.page(
            "Title",
            [
                pages.heading("Part"),
                pages.paragraph("Text.", "lead"),
                pages.preformatted("a\nb"),
                pages.table(["name", "count"], [["x", "1"]]),
            ],
        )
    )

    assert tags.open == []
    assert tags.fetched == []
    assert "script" not in {tag for tag, _ in tags.seen}


def test_everything_from_outside_is_escaped():
    evil = "<img src=x onerror=alert(1)>"
    made = pages.page(
        evil,
        [
            pages.heading(evil),
            pages.paragraph(evil),
            pages.preformatted(evil),
            pages.table([evil], [[evil]]),
        ],
    )

    assert "<img" not in made
    assert made.count("&lt;img") == 7  # The title stands in the head as well.


def test_columns_of_numbers_stand_to_the_right():
    made = pages.table(
        ["name", "count", "share", "mixed"],
        [["a", "1,234", "12.5 %", "1"], ["b", "-", "3 %", "one"]],
    )
    right = [dict(a).get("class") == "n" for tag, a in Tags(made).seen if tag == "th"]

    assert right == [False, True, True, False]


def test_table_without_rows_has_its_head():
    assert "<th>name</th>" in pages.table(["name"], [])
