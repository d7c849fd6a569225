import pytest

from data_prep.rules import languages
from lmcodistill import errors
from lmcodistill.settings import filtering

ENGLISH = "The old man walked down to the river and sat there until it was dark."
GERMAN = "Der alte Mann ging hinunter zum Fluss und blieb dort, bis es dunkel wurde."


def drop_reason(text, declared="", wanted="en", min_score=0.5):
    rule = filtering.LanguageRule(language=wanted, min_score=min_score)
    return languages.drop_reason(text, declared, rule)


def test_declared_language_decides_without_the_model():
    assert drop_reason(GERMAN, declared="eng") == (None, "eng")
    assert drop_reason(ENGLISH, declared="deu") == ("other_language", "deu")


def test_model_decides_where_nothing_is_declared():
    assert drop_reason(ENGLISH) == (None, "eng")
    assert drop_reason(GERMAN) == ("other_language", "deu")
    assert drop_reason(GERMAN, wanted="deu") == (None, "deu")


def test_unsure_model_drops_with_a_reason_of_its_own():
    assert drop_reason(ENGLISH, min_score=1.0)[0] == "uncertain_language"


def test_no_language_wanted_keeps_every_language():
    assert drop_reason(GERMAN, wanted="") == (None, "")


def test_middle_of_a_long_text_is_what_is_identified():
    navigation = "Startseite Anmelden Warenkorb Impressum Datenschutz " * 10

    assert languages.identify(navigation + ENGLISH * 30 + navigation)[0] == "eng"


def test_small_sample_decides_only_where_the_model_is_sure():
    # An unsure middle, German around it: English by the middle alone.
    middle = "Hamburg, Berlin, New York, Paris, information system, computer " * 4
    text = GERMAN * 12 + middle + GERMAN * 12

    by_the_middle = languages.identify(middle[:250])
    assert by_the_middle[0] != "deu"
    assert by_the_middle[1] < 0.8
    assert languages.identify(text)[0] == "deu"


def test_whoever_wants_more_certainty_gets_the_larger_sample():
    text = ENGLISH * 20

    small, large = languages.identify(text, 0.5), languages.identify(text, 0.999)

    assert small[0] == large[0] == "eng"
    assert small[1] != large[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace("e ", "e\u00a0"),
        lambda text: text.replace(" ", "\u202f"),
        lambda text: text.replace(" ", "\u2003 \t\x0b"),
        lambda text: text.replace(" ", "\u200b"),
        lambda text: text.replace(" ", "\r\n\u2028"),
        lambda text: text.replace("o", "o\u00ad"),
        lambda text: "\ufeff" + text,
        lambda text: text.upper(),
        lambda text: text.title(),
        lambda text: text[:99] + " \n" * 9_000 + text[99:],
    ],
)
@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "eng"), (GERMAN, "deu")])
def test_white_space_and_case_decide_nothing(change, text, language):
    text = f"{text} " * 3

    plain, changed = languages.identify(text), languages.identify(change(text))

    assert changed[0] == language
    assert changed[1] == pytest.approx(plain[1], abs=0.05)


def test_unknown_language_is_refused_with_an_example():
    with pytest.raises(errors.UsageError, match="LANGUAGE = 'english'.*'en'"):
        languages.check_language("english")


@pytest.mark.parametrize("code", ["en", "eng", "yue", "", "DE"])
def test_known_language_is_accepted(code):
    languages.check_language(code)
