"""Which files a run reads: every one once, by the name that was given."""

import json
import os

import pytest

from data_prep.reading import inputs
from lmcodistill import errors


def write(path, content="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def names(*patterns):
    return [source.name for source in inputs.find(list(map(str, patterns))).files]


def test_names_are_the_shortest_that_are_unique(tmp_path):
    for name in ("a/x.txt", "b/x.txt", "b/y.txt"):
        write(tmp_path / name)

    assert names(tmp_path / "*", tmp_path / "b/y.txt") == [
        *("a/x.txt", "b/x.txt", "y.txt")
    ]


def test_pattern_without_a_file_is_refused():
    with pytest.raises(errors.UsageError, match="'nowhere/.*' matches no file"):
        inputs.find(["nowhere/*.wet.gz"])


@pytest.mark.parametrize("name", ["a[1].txt", ".hidden.txt", "what?", "x" * 300])
def test_named_file_is_read_whatever_its_name_and_an_impossible_one_refused(
    tmp_path, name
):
    if len(name) > 255:
        with pytest.raises(errors.UsageError, match="matches no file"):
            inputs.find([str(tmp_path / name)])
        return
    write(tmp_path / name)

    assert names(tmp_path / name) == [name]


def test_linked_file_keeps_the_name_it_was_given_by(tmp_path):
    # As the caches of Hugging Face and DVC are laid out.
    write(tmp_path / "hub/blobs/5f3a9c")
    link = tmp_path / "hub/snapshots/main/train.jsonl"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../blobs/5f3a9c")

    [alone] = inputs.find([str(link)]).files
    both = inputs.find([str(tmp_path / "hub")])

    assert (alone.path, alone.name) == (link, "train.jsonl")
    assert [source.name for source in both.files] == ["train.jsonl"]
    assert both.left_out == {"read_once": 1}


def test_linked_folder_is_entered_as_a_pattern_enters_it(tmp_path):
    write(tmp_path / "disk1/there.jsonl")
    write(tmp_path / "top/here.jsonl")
    (tmp_path / "top/part1").symlink_to("../disk1")

    assert names(tmp_path / "top") == ["here.jsonl", "there.jsonl"]
    assert names(tmp_path / "top/**/*.jsonl") == ["here.jsonl", "there.jsonl"]


def test_circles_and_second_links_end_and_are_said(tmp_path):
    write(tmp_path / "top/a/x.txt")
    (tmp_path / "top/a/back").symlink_to("..")
    # Sorted before the folder that it leads to, whose own path is the better name.
    (tmp_path / "top/0").symlink_to("a")

    found = inputs.find([str(tmp_path / "top")])

    assert [source.path for source in found.files] == [tmp_path / "top/a/x.txt"]
    assert found.left_out == {"linked_again": 2}
    assert found.notes()[0].startswith("2 linked folder(s) lead to one that is read")


def test_hidden_files_and_folders_are_left_out_alike_and_counted(tmp_path):
    write(tmp_path / "in/train.jsonl")
    write(tmp_path / "in/.gitignore")
    write(tmp_path / "in/.cache/huggingface/download/README.md.metadata")
    write(tmp_path / "in/.ipynb_checkpoints/notes-checkpoint.txt")

    found = inputs.find([str(tmp_path / "in")])

    assert [source.name for source in found.files] == ["train.jsonl"]
    assert found.left_out == {"hidden": 3}
    assert "hidden" in found.notes()[0] and "dot" in found.notes()[0]
    # A folder that is named is meant.
    assert names(tmp_path / "in/.ipynb_checkpoints") == ["notes-checkpoint.txt"]


def test_folder_given_twice_is_read_once_and_said(tmp_path):
    for name in "abc":
        write(tmp_path / f"in/{name}.txt")

    found = inputs.find([str(tmp_path / "in"), f"{tmp_path}/in/../in/"])

    assert [source.name for source in found.files] == ["a.txt", "b.txt", "c.txt"]
    assert found.left_out == {"read_once": 3}
    assert "3 file(s) were given twice" in found.notes()[0]


def test_second_name_of_a_file_is_read_once(tmp_path):
    os.link(write(tmp_path / "a.txt"), tmp_path / "b.txt")
    write(tmp_path / "c.txt")

    assert names(tmp_path) == ["a.txt", "c.txt"]


@pytest.mark.parametrize("target", ["nowhere.txt", "broken.txt"])
def test_link_that_leads_nowhere_is_refused(tmp_path, target):
    write(tmp_path / "a.txt")
    (tmp_path / "broken.txt").symlink_to(target)

    for pattern in (tmp_path, tmp_path / "*.txt", tmp_path / "broken.txt"):
        with pytest.raises(errors.DataError, match=f"a link to {target}, cannot be"):
            inputs.find([str(pattern)])


def test_pipe_is_left_out_and_counted(tmp_path):
    write(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")

    assert inputs.find([str(tmp_path)]).left_out == {"no_file": 1}
    with pytest.raises(errors.UsageError, match="matches no file"):
        inputs.find([str(tmp_path / "pipe")])


def test_pretokenized_file_is_called_by_the_name_of_its_link(tmp_path):
    write(tmp_path / "blob", json.dumps({}))
    (tmp_path / "ptb.train.txt").symlink_to("blob")

    train, validation = inputs.pretokenized(
        str(tmp_path / "ptb.train.txt"), str(tmp_path / "blob"), ""
    )

    assert (train.name, validation.name) == ("train:ptb.train.txt", "validation:blob")
