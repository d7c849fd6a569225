"""The rules one by one: what passes, what does not, and why."""

import pytest

from data_prep.rules import c4, fineweb, gopher, lengths, masking, repetition
from lmcodistill.settings import filtering

GOOD_LINE = "The captain walked to the river and sat down."


@pytest.mark.parametrize(
    "line",
    [
        "A line that ends without a mark",
        "A line that trails off ...",
        "Only four words here.",
        "Please enable JavaScript to read this.",
        "This site uses cookies to serve you.",
        "A word of " + "x" * 1_001 + " characters is here.",
    ],
)
def test_c4_removes_a_bad_line_and_keeps_the_page(line):
    rules = filtering.C4Rules(min_sentences=2)

    assert c4.clean(f"{GOOD_LINE}\n{line}\n{GOOD_LINE}", rules) == (
        f"{GOOD_LINE}\n{GOOD_LINE}",
        None,
    )


def test_c4_without_end_marks_keeps_headings_of_enough_words():
    rules = filtering.C4Rules(end_marks=False, min_sentences=1, min_words_per_line=3)
    page = f"How it began\n{GOOD_LINE}\nNext page"

    assert c4.clean(page, rules) == (f"How it began\n{GOOD_LINE}", None)


def test_c4_removes_citations_inside_a_line():
    rules = filtering.C4Rules(min_sentences=1)

    assert c4.clean("It was built in 1901[12] by a friend[edit].", rules)[0] == (
        "It was built in 1901 by a friend."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{GOOD_LINE}\nfunction() {{", "c4_curly_bracket"),
        (f"{GOOD_LINE}\nLorem ipsum dolor sit amet.", "c4_lorem_ipsum"),
        ("Home\nAbout\nContact", "c4_no_good_line"),
        ("\n".join([GOOD_LINE] * 2), "c4_too_few_sentences"),
    ],
)
def test_c4_drops_a_page_with_a_reason(text, reason):
    assert c4.clean(text, filtering.C4Rules()) == (text, reason)


# 53 words; "the" and "of" are its stop words, its mean word length is 4.
PROSE = "the house of glass stood near water " * 7 + "and then it fell."


def test_gopher_keeps_prose():
    assert gopher.drop_reason(PROSE, filtering.GopherRules()) is None


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("the house of glass", {}, "gopher_too_few_words"),
        (PROSE, {"max_words": 52}, "gopher_too_many_words"),
        ("a of the b " * 20, {}, "gopher_mean_word_length"),
        ("interminability of the " * 20, {"max_mean_word_characters": 6.0},
         "gopher_mean_word_length"),
        (PROSE + " # # # # # #", {}, "gopher_symbols"),
        ("- " + PROSE.replace(" house", "\n- house"), {}, "gopher_bullet_lines"),
        (PROSE.replace(" house", "...\nhouse", 2), {}, "gopher_ellipsis_lines"),
        (PROSE + " 1234" * 20, {}, "gopher_few_alphabetic_words"),
        ("house glass stood near water " * 12, {}, "gopher_few_stop_words"),
        ("The THE the house glass stood near water " * 12, {},
         "gopher_few_stop_words"),
    ],
)  # fmt: skip
def test_gopher_drops_a_page_with_a_reason(text, rules, reason):
    assert gopher.drop_reason(text, filtering.GopherRules(**rules)) == reason


def test_gopher_limits_are_still_good():
    rules = filtering.GopherRules(max_words=53, min_words=53)

    assert gopher.drop_reason(PROSE, rules) is None
    # 53 of 66 words have a letter: four fifths and a little more.
    assert gopher.drop_reason(PROSE + " 1234" * 13, filtering.GopherRules()) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # Two of three lines are copies.
        ("one line here\n" * 3, "gopher_duplicate_lines"),
        # A quarter of the lines, but most characters.
        ("a b\nc d\ne f\n" + "x" * 99 + "\ng h\ni j\nk l\n" + "x" * 99,
         "gopher_duplicate_line_characters"),
        # One of three paragraphs is a copy, one of ten lines.
        ("a\n\nb\nc\nd\ne\nf\ng\nh\ni\n\na", "gopher_duplicate_paragraphs"),
        # "red car" is 12 of 22 words.
        ("red car a red car bb red car ccc red car d red car ee red car fff g h i j",
         "gopher_top_2_gram"),
        # "in a red " is 18 of 76 characters, "a red " 12.
        ("we sat in a red barn by some trees in a red wagon with good old people of us",
         "gopher_top_3_gram"),
    ],
)  # fmt: skip
def test_repetition_drops_a_page_with_a_reason(text, reason):
    assert repetition.drop_reason(text) == reason


def test_repeated_long_passage_is_repetition_and_distinct_words_are_not():
    words = [f"w{i:03d}" for i in range(200)]

    assert repetition.drop_reason(" ".join(words)) is None
    # 40 of 240 words lie in a repeated 5-gram, a sixth of the characters.
    passage = " ".join(words + words[:20])
    assert repetition.drop_reason(passage) == "gopher_duplicate_5_grams"
    # 32 of 248: above the limit for 9-grams and 10-grams alone.
    passage = " ".join(words + [f"v{i:03d}" for i in range(32)] + words[:16])
    assert repetition.drop_reason(passage) == "gopher_duplicate_8_grams"


@pytest.mark.parametrize("text", ["", " ", "a", "a b", "\n\n", "..."])
def test_repetition_takes_the_shortest_texts(text):
    assert repetition.drop_reason(text) is None


LINES = [f"Line {i} tells of a house that stood near water." for i in range(20)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(LINES), None),
        ("\n".join(line[:-1] for line in LINES), "fineweb_few_end_marks"),
        ("\n".join([*LINES, *["Short one."] * 41]), "fineweb_short_lines"),
        ("\n".join([*LINES, LINES[3]]), "fineweb_duplicate_lines"),
        ("\n".join(f"Interminabilities and-uninterruptedness{i}."
                   for i in range(20)), "fineweb_list"),
        ("", None),
    ],
)  # fmt: skip
def test_fineweb_drops_lists_and_menus_with_a_reason(text, reason):
    assert fineweb.drop_reason(text, filtering.FineWebRules()) == reason


PARAGRAPH = "word " * 9 + "end."


@pytest.mark.parametrize(
    ("text", "is_web", "rules", "kept", "reason"),
    [
        ("a b c", True, {"min_words": 4}, "a b c", "too_few_words"),
        ("a b c ", True, {"max_words": 2}, "a b c ", "too_many_words"),
        ("a b c ", True, {"min_words": 3, "max_words": 3}, "a b c ", None),
        (f"Menu\n{PARAGRAPH}", True, {"min_long_paragraphs": 1},
         f"Menu\n{PARAGRAPH}", None),
        (f"Menu\n{PARAGRAPH}", True, {"min_long_paragraphs": 2},
         f"Menu\n{PARAGRAPH}", "too_few_long_paragraphs"),
        (f"Menu\n{PARAGRAPH}\nLink\n{PARAGRAPH}", True,
         {"min_long_paragraphs": 1, "only_long_paragraphs": True},
         f"{PARAGRAPH}\n{PARAGRAPH}", None),
        # Two lines of five words are no long paragraph of the web, but of a book.
        ("a b c d e\nf g h i j\n \nk", True, {"min_long_paragraphs": 1},
         "a b c d e\nf g h i j\n \nk", "too_few_long_paragraphs"),
        ("a b c d e\nf g h i j\n \nk", False,
         {"min_long_paragraphs": 1, "only_long_paragraphs": True},
         "a b c d e\nf g h i j", None),
    ],
)  # fmt: skip
def test_length_in_words_and_in_paragraphs(text, is_web, rules, kept, reason):
    rules = filtering.LengthRules(
        **{"long_paragraph_words": 10, "min_long_paragraphs": 0} | rules
    )

    assert lengths.clean(text, rules, is_web=is_web) == (kept, reason)


ALL = filtering.Masking(emails=True, ip_addresses=True, phone_numbers=True)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to a.b+c@mail.example.org.", "Write to email@example.com."),
        ("(me@x.io, you@y.co.uk)", "(email@example.com, email@example.com)"),
        ("from 8.8.8.8 and 2a00:1450:4001:81b::200e.",
         "from 192.0.2.1 and 2001:db8::1."),
        ("Call (212) 555-0199 or +44 20 7946 0958 now",
         "Call +1 555 0100 or +1 555 0100 now"),
        ("Call 212-555-0199.", "Call +1 555 0100."),
    ],
)  # fmt: skip
def test_masking_puts_a_stand_in_for_personal_data(text, masked):
    assert masking.mask(text, ALL)[0] == masked
    # Masked text stays as it is.
    assert masking.mask(masked, ALL)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "At 10:30:15 on 2024-05-22, see 1.2.3 and 1.2.3.4.5 and 300.1.1.1",
        "std::vector :: a::b cafe:: 1,234,567.89 and 1990-1995 and ISBN 0-306-40615-2",
        "@home me@ @ a@b #tag c++ 100% 12-34-5678",
    ],
)
def test_masking_leaves_other_numbers_and_marks_alone(text):
    assert masking.mask(text, ALL) == (text, {})


def test_masking_does_only_what_is_asked_for():
    text = "a@b.org 8.8.8.8 212-555-0199"

    assert masking.mask(text, filtering.Masking()) == (text, {})
    assert masking.mask(text, ALL)[1] == {
        "email": 1,
        "ip_address": 1,
        "phone_number": 1,
    }
