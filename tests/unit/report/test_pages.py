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
    heads = [a for _, a in Tags(made).seen if a.get("scope") == "col"]
    right = [head.get("class") == "n" for head in heads]

    assert right == [False, True, True, False]


def test_table_without_rows_has_its_head():
    assert "<th scope='col'>name</th>" in pages.table(["name"], [])


def test_tables_tell_a_screen_reader_what_they_and_their_cells_are():
    for made in (
        pages.table(["name", "count"], [["a", "1"]], "What is <counted>"),
        pages.meters(["name", "count"], [(["a", "1"], 0.5)], "What is <counted>"),
        pages.bars({"a": 1}, 1, "What is <counted>"),
    ):
        tags = Tags(made)
        scopes = [dict(a).get("scope") for tag, a in tags.seen if tag == "th"]

        assert None not in scopes and "row" in scopes
        assert "<caption>What is &lt;counted&gt;</caption>" in made
        # A table that is too wide can be scrolled with the keyboard.
        assert ("tabindex", "0") in {x for tag, a in tags.seen for x in a.items()}


def test_page_has_rules_for_phones_and_paper():
    made = pages.page("Title", [])

    for rule in ("@media print", "break-inside: avoid", "(max-width: 40rem)"):
        assert rule in made
    assert "width=device-width" in made


def test_details_are_folded_away():
    made = pages.details("More <here>", pages.paragraph("Text."))

    assert made.startswith("<details><summary>More &lt;here&gt;</summary><p>Text.")
