import pytest

from data_prep import work
from data_prep.tokens import sampling, vocabulary_training
from lmcodistill import errors
from lmcodistill.data import text_forms, vocabulary
from lmcodistill.settings import prep
from tests.support.crawl import WORDS

TEXT = "\n".join(
    f"The {a} of the {b} was near, {c} said in {n}."
    for n, (a, b, c) in enumerate(zip(WORDS, WORDS[7:], WORDS[31:], strict=False))
)


def train(tmp_path, text=TEXT, **settings):
    folder = work.WorkFolder(tmp_path)
    folder.make()
    sample = tmp_path / "sample"
    sample.write_text(text, encoding="utf-8")
    news = []
    model = vocabulary_training.train_pieces(
        prep.PrepVocabulary(**{"num_threads": 1} | settings),
        (sample,),
        folder,
        news.append,
    )
    return vocabulary.Vocabulary(model), news


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_pieces_give_any_text_back_exactly(tmp_path, kind):
    pieces, news = train(tmp_path, type=kind, size=340)
    awkward = [
        "The captain.\n\nThe river.",
        "  two  spaces and a tab\t ",
        "",
        "\n",
        "nul \0, bell \a, \x7f",
        "<unk> </s> <0x41> <s>",
        "\u65e5\u672c\u8a9e \U0001f600 e\u0301 \ufffd \ufeff \u00a0",
    ]

    assert pieces.size == 340
    assert [pieces.decode(pieces.encode(text)) for text in awkward] == awkward
    assert all(pieces.unknown_id not in pieces.encode(text) for text in awkward)
    assert news[-1].fraction > 0.0


def test_line_end_is_one_piece(tmp_path):
    pieces, _ = train(tmp_path, type="bpe", size=400)

    assert pieces.pieces[pieces.encode("a\nb")[-2]] == "\n"


def test_too_large_vocabulary_names_the_largest_possible(tmp_path):
    with pytest.raises(errors.UsageError, match="VOCAB_SIZE = 90,000") as raised:
        train(tmp_path, type="bpe", size=90_000)

    largest = int(str(raised.value).partition("--gin.VOCAB_SIZE=")[2].split()[0])
    pieces, _ = train(tmp_path, type="bpe", size=largest)
    assert pieces.size == largest


def test_too_small_vocabulary_names_the_smallest_possible(tmp_path):
    with pytest.raises(
        errors.UsageError, match="too small.*--gin.VOCAB_SIZE="
    ) as raised:
        train(tmp_path, type="bpe", size=100)

    smallest = int(str(raised.value).partition("--gin.VOCAB_SIZE=")[2].split()[0])
    assert 256 < smallest < 400


def test_no_text_at_all_is_an_error_and_not_a_crash(tmp_path):
    with pytest.raises(errors.DataError, match="more text"):
        train(tmp_path, text="", type="bpe", size=400)


def test_line_that_the_trainer_would_skip_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(errors.DataError, match="skipped 1 line.*Remove"):
        train(tmp_path, text=f"{TEXT}\n{'x ' * 10_000}", type="bpe", size=400)


def test_equal_thread_counts_give_equal_vocabularies(tmp_path):
    first, _ = train(tmp_path, type="unigram", size=340, num_threads=2)
    second, _ = train(tmp_path, type="unigram", size=340, num_threads=2)

    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_split_digits_are_pieces_of_their_own_and_come_back(tmp_path, kind):
    pieces, _ = train(tmp_path, type=kind, size=340, digits="split")

    ids = pieces.encode("in 1984")

    assert [pieces.pieces[i] for i in ids[-4:]] == list("1984")
    assert pieces.decode(ids) == "in 1984"


def test_generic_digits_are_one_piece_for_whoever_encodes(tmp_path):
    pieces, _ = train(tmp_path, type="unigram", size=340, digits="generic")

    ids = pieces.encode("in 1984")

    assert [pieces.pieces[i] for i in ids[-4:]] == ["0"] * 4
    assert pieces.decode(ids) == pieces.form("in 1984")
    assert pieces.decode(ids) == "in 0000"


def test_marks_are_pieces_and_the_text_between_them_comes_back(tmp_path):
    pieces, _ = train(tmp_path, type="unigram", size=340, marks="sentences")
    text = "The captain. The river?\n\n \nHouse\ue001s."

    form = pieces.form(text)

    assert form == (
        "\ue000\ue002The captain.\ue003\ue002 The river?\ue003\ue001\n\n \n"
        "\ue000\ue002House\ufffds.\ue003\ue001"
    )
    assert pieces.decode(pieces.encode(form)) == form
    assert {"\ue000", "\ue001", "\ue002", "\ue003"} <= set(pieces.pieces)
    assert train(tmp_path, type="unigram", size=340)[0].form(text) == text


@pytest.mark.parametrize("option", [{"digits": "split"}, {"marks": "paragraphs"}])
def test_words_are_taken_as_they_are(option):
    with pytest.raises(errors.UsageError, match="word"):
        prep.PrepVocabulary(type="word", **option)


def test_words_come_by_frequency_with_a_literal_unk_among_them():
    model = vocabulary_training.word_model({"a": 2, "<unk>": 5, "b": 2}, size=0)
    words = vocabulary.Vocabulary(model)

    assert words.pieces == ["<unk>", "</s>", "\u2581<unk>", "\u2581a", "\u2581b"]
    assert words.end_id == 1
    assert words.encode("a <unk> </s>") == [3, 2, 0]
    assert words.decode([3, 2, 4]) == "a <unk> b"


def test_limited_word_vocabulary_keeps_the_most_frequent_words():
    model = vocabulary_training.word_model({"a": 1, "b": 3, "c": 2}, size=4)

    assert vocabulary.Vocabulary(model).pieces[2:] == ["\u2581b", "\u2581c"]


def test_word_level_text_keeps_line_ends_as_words():
    words = text_forms.apply(text_forms.WORDS, " a  b\n\nc\t d ")

    assert words == "a b \n \n c d"


def test_line_end_of_an_article_comes_back_from_its_words():
    words = vocabulary.Vocabulary(
        vocabulary_training.word_model(dict.fromkeys(["a", "b", "c", "\n"], 1), 0)
    )

    text = words.form("a b\nc")

    assert words.decode(words.encode(text)) == text
    assert len(words.encode(text)) == 4


def test_long_paragraphs_are_cut_at_spaces_and_nothing_is_lost():
    text = "one two three\n\n" + "x" * 25 + " end \u65e5\u672c\u8a9e"

    pieces = sampling.paragraphs(text, 10)

    assert pieces == ["one two", "three", "x" * 10, "x" * 10, "x" * 5 + " end",
                      "\u65e5\u672c\u8a9e"]  # fmt: skip
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_word_vocabulary_loads_whatever_characters_the_text_had(tmp_path):
    text = text_forms.clean(
        "nul\0s \0 \u2581mark \ue000 \ufdd0 \u2585 \ufeff \x7f \u2047"
    )
    words = text_forms.apply(text_forms.WORDS, text).split(" ")
    path = tmp_path / "vocabulary.model"

    path.write_bytes(vocabulary_training.word_model(dict.fromkeys(words, 1), 0))

    loaded = vocabulary.Vocabulary.load(path)
    assert loaded.decode(loaded.encode(" ".join(words))) == " ".join(words)
    assert words[:2] == ["nuls", "_mark"]


@pytest.mark.parametrize("marks", ["none", "sentences"])
def test_private_characters_of_the_text_break_no_vocabulary(tmp_path, marks):
    text = "\n".join(f"\ue000{line}\ue003 \uf8ff" for line in TEXT.split("\n"))

    pieces, _ = train(tmp_path, text=text, type="bpe", size=345, marks=marks)

    form = pieces.form("\ue000 a \ue003\uf8ff.")
    assert pieces.decode(pieces.encode(form)) == form
    assert (form == "\ue000 a \ue003\uf8ff.") == (marks == "none")


def test_blank_line_of_any_length_takes_linear_time(tmp_path):
    pieces, _ = train(tmp_path, type="bpe", size=340, marks="sentences")

    # The square of it would be an hour.
    assert pieces.form("a.\n" + " " * 1_000_000).endswith(" ")


def test_generic_digits_give_one_fingerprint_in_every_folder(tmp_path):
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(train(tmp_path / name, type="bpe", size=340, digits="generic")[0])

    assert made[0].fingerprint == made[1].fingerprint
    assert b"digits" not in made[0].model and bytes(tmp_path) not in made[0].model
