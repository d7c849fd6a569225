import pytest

from data_prep import documents, filters, repetition
from lmcodistill.settings import prep

GOOD_LINE = "The captain walked to the river and sat down."
RULES = filters.Rules(
    prep.LanguageRule(language=""), prep.C4Rules(), prep.GopherRules()
)


def c4(text):
    return filters.c4(text, prep.C4Rules(min_sentences=1))


@pytest.mark.parametrize(
    "line",
    [
        "A line that ends without a mark",
        "A line that trails off ...",
        "Only four words here.",
        "Please enable javascript to read this.",
        "This site uses cookies to serve you.",
        "A word of " + "x" * 1_001 + " characters is here.",
    ],
)
def test_c4_removes_a_bad_line_and_keeps_the_page(line):
    assert c4(f"{GOOD_LINE}\n{line}\n{GOOD_LINE}") == (
        f"{GOOD_LINE}\n{GOOD_LINE}",
        None,
    )


def test_c4_removes_citations_inside_a_line():
    assert c4("It was built in 1901[12] by a friend[edit].")[0] == (
        "It was built in 1901 by a friend."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{GOOD_LINE}\nfunction() {{", "c4_curly_bracket"),
        (f"{GOOD_LINE}\nLorem ipsum dolor sit amet.", "c4_lorem_ipsum"),
        ("Home\nAbout\nContact", "c4_no_good_line"),
        ("\n".join([GOOD_LINE] * 4), "c4_too_few_sentences"),
    ],
)
def test_c4_drops_a_page_with_a_reason(text, reason):
    assert filters.c4(text, prep.C4Rules())[1] == reason


# 52 words; "the" and "of" are its stop words, its mean word length is 4.
PROSE = "the house of glass stood near water " * 7 + "and then it fell."


def gopher(text, **rules):
    return filters.gopher_quality(text, prep.GopherRules(**rules))


def test_gopher_keeps_prose():
    assert gopher(PROSE) is None


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("the house of glass", {}, "gopher_too_few_words"),
        (PROSE, {"max_words": 50}, "gopher_too_many_words"),
        ("a of the b " * 20, {}, "gopher_mean_word_length"),
        (PROSE + " # # # # # #", {}, "gopher_symbols"),
        ("- " + PROSE.replace(" house", "\n- house"), {}, "gopher_bullet_lines"),
        (PROSE.replace(" house", "...\nhouse", 2), {}, "gopher_ellipsis_lines"),
        (PROSE + " 1234" * 20, {}, "gopher_few_alphabetic_words"),
        ("house glass stood near water " * 12, {}, "gopher_few_stop_words"),
    ],
)
def test_gopher_drops_a_page_with_a_reason(text, rules, reason):
    assert gopher(text, **rules) == reason


def judge(text, *, is_web=True, language="", rules=RULES):
    document = documents.Document(
        id="0" * 32, text=text, is_web=is_web, language=language
    )
    return filters.judge(document, rules)


def test_web_rules_leave_other_text_alone():
    assert judge("a short poem", is_web=False).reason is None
    assert judge("a short poem", is_web=True).reason == "c4_no_good_line"


def test_blank_document_is_dropped():
    assert judge(" \n\t ", is_web=False).reason == "empty"


def test_declared_language_is_looked_at_before_anything_else():
    rules = RULES._replace(language=prep.LanguageRule(language="en"))

    verdict = judge("{", language="deu", rules=rules)

    assert (verdict.reason, verdict.language) == ("other_language", "deu")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # Two of three lines are copies.
        ("one line here\n" * 3, "gopher_duplicate_lines"),
        # A quarter of the lines, but most characters.
        ("a b\nc d\ne f\n" + "x" * 99 + "\ng h\ni j\nk l\n" + "x" * 99,
         "gopher_duplicate_line_characters"),
        # "red car" is 12 of 22 words.
        ("red car a red car bb red car ccc red car d red car ee red car fff g h i j",
         "gopher_top_2_gram"),
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
