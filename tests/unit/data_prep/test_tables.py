"""What settings may name is what there is, table by table."""

import dataclasses

import pytest

from data_prep.engines import choice
from data_prep.reading import readers
from data_prep.rules import extract, filters, paragraph_ids
from data_prep.run import plan
from data_prep.tokens import vocabulary_training
from lmcodistill import errors
from lmcodistill.data import text_forms
from lmcodistill.settings import filtering, paragraphs, prep


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (prep.TEXT_DOCUMENTS, readers.TEXT_CUTTERS),
        (prep.PRETOKENIZED_DOCUMENTS, readers.PRETOKENIZED_CUTTERS),
        (prep.VOCAB_TYPES, vocabulary_training.TYPES),
        (prep.MARKS, text_forms.MARKS),
        (prep.MARKS, text_forms.MARKING),
        (prep.DIGITS, text_forms.DIGITS),
        (paragraphs.PARAGRAPHS, paragraph_ids.SPLITTERS),
        (filtering.RULES, dict(filters.RULES)),
    ],
)
def test_every_name_has_an_implementation_and_every_implementation_a_name(names, table):
    assert set(names) == set(table)


def test_kinds_of_files_have_a_reader_or_a_note():
    assert not readers.READERS.keys() & readers.NOTES.keys()
    with pytest.raises(KeyError):
        readers.READERS["unheard-of"]


def test_kind_that_nobody_reads_raises(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    task = extract.ReadTask(
        *(0, path, "a", tmp_path, prep.Prep(), filtering.Rules()), kind="unheard-of"
    )

    with pytest.raises(KeyError, match="unheard-of"):
        extract.extract(task, lambda _: None)


def test_engine_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(errors.UsageError, match="this version has local, spark"):
        choice.make("ray")


def test_settings_that_a_resumed_run_may_change_are_fields_that_reading_lacks():
    later = prep.later_settings()
    settings = {
        f"{cls.__name__}.{field.name}"
        for cls in prep.PREP_SETTINGS
        for field in dataclasses.fields(cls)
    }

    assert later < settings
    assert {name for name in later if name.startswith("Prep.")} == {
        "Prep.num_partitions",
        "Prep.validation_fraction",
        "Prep.guide_fraction",
        "Prep.seed",
        "Prep.shard_tokens",
        "Prep.keep_documents",
    }
    assert {name.partition(".")[0] for name in later} == {
        "Prep",
        "PrepVocabulary",
        "Deduplication",
    }


def test_text_that_comes_with_its_own_splits_is_not_compared():
    given = plan.Plan((), prep.Prep(), prep.PrepVocabulary(), filtering.Rules())

    assert given.compared.is_on
    assert not dataclasses.replace(given, kind="pretokenized").compared.is_on
