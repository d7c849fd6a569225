"""TF_CONFIG as it comes: what is taken, and what is refused before anything waits."""

import json

import pytest

from lmcodistill import errors
from lmcodistill.supervision import cluster_spec


def tf_config(cluster, index=0, job="worker", **more):
    return json.dumps(
        {"cluster": cluster, "task": {"type": job, "index": index}, **more}
    )


TWO = {"worker": ["a:1", "b:2"]}
WITH_CHIEF = {"chief": ["c:9"], "worker": ["a:1", "b:2"]}
WITH_SERVERS = {**WITH_CHIEF, "ps": ["p:3", "q:4"]}

# Text, then the index and the addresses of the task.
TAKEN = {
    "workers alone": (tf_config(TWO, 1), 1, ("a:1", "b:2")),
    "the chief is worker 0": (
        tf_config(WITH_CHIEF, 0, "chief"),
        0,
        ("c:9", "a:1", "b:2"),
    ),
    "workers come after it": (tf_config(WITH_CHIEF, 1), 2, ("c:9", "a:1", "b:2")),
    "a chief alone": (tf_config({"chief": ["c:9"]}, 0, "chief"), 0, ("c:9",)),
    "an index as text": (tf_config(TWO, "1"), 1, ("a:1", "b:2")),
    "a job of nobody": (tf_config({**TWO, "ps": []}), 0, ("a:1", "b:2")),
    "what Kubeflow adds": (tf_config(TWO, environment="cloud"), 0, ("a:1", "b:2")),
    "IPv6 in brackets": (tf_config({"worker": ["[fd00::1]:22"]}), 0, ("[fd00::1]:22",)),
    "any port for one": (tf_config({"worker": ["a:0"]}), 0, ("a:0",)),
    "the highest port": (tf_config({"worker": ["a:65535"]}), 0, ("a:65535",)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_other_tools_write_is_taken(name):
    text, index, addresses = TAKEN[name]

    task = cluster_spec.parse(text)

    assert (task.index, task.addresses) == (index, addresses)
    assert task.is_chief == (index == 0)
    # As TensorFlow reads it, which knows of a chief in its own way.
    assert cluster_spec.parse(task.tf_config) == task
    assert json.loads(task.tf_config)["cluster"].keys() == {"worker"}


# Of a cluster with parameter servers: the task, then what it is.
OF_SERVERS = {
    ("chief", 0): (0, "c:9", False),
    ("worker", 0): (1, "a:1", True),
    ("worker", 1): (2, "b:2", True),
    ("ps", 0): (3, "p:3", True),
    ("ps", 1): (4, "q:4", True),
}


@pytest.mark.parametrize("place", OF_SERVERS)
def test_with_parameter_servers_all_but_the_chief_serve_it(place):
    job, index = place

    task = cluster_spec.parse(tf_config(WITH_SERVERS, index, job))

    assert (task.index, task.address, task.serves) == OF_SERVERS[place]
    assert (task.job, task.job_index) == place
    assert (task.asynchronous_workers, task.parameter_servers) == (2, 2)
    assert json.loads(task.tf_config) == json.loads(tf_config(WITH_SERVERS, index, job))


def test_without_parameter_servers_nobody_works_alone():
    task = cluster_spec.parse(tf_config(WITH_CHIEF, 1))

    assert (task.asynchronous_workers, task.serves) == (0, False)


REFUSED = {
    "nothing": ("", "is no JSON"),
    "no JSON": ("worker", "is no JSON"),
    "too deep": ("[" * 100_000, "is no JSON"),
    "no object": ("[1]", "has no object 'cluster'"),
    "no cluster": ("{}", "has no object 'cluster'"),
    "no task": ('{"cluster": {}}', "has no object 'task'"),
    "task of text": ('{"cluster": {}, "task": "worker"}', "has no object 'task'"),
    "no worker": (tf_config({}), "has no worker in its cluster"),
    "servers, no chief": (tf_config({**TWO, "ps": ["p:1"]}), "not both a chief and"),
    "servers, no worker": (
        tf_config({"chief": ["c:9"], "ps": ["p:1"]}, 0, "chief"),
        "not both a chief and workers",
    ),
    "an evaluator": (tf_config({**TWO, "evaluator": ["e:1"]}), "has a job 'evaluator'"),
    "the master of old": (tf_config({**TWO, "master": ["m:1"]}), "has a job 'master'"),
    "two chiefs": (tf_config({"chief": ["c:1", "d:1"]}, 0, "chief"), "has 2 chiefs"),
    "task of another kind": (tf_config(TWO, 0, "evaluator"), "task type 'evaluator'"),
    "a server that is not there": (tf_config(TWO, 0, "ps"), "cluster 0 of the job"),
    "task of no kind": (tf_config(TWO, 0, None), "has task type None"),
    "a chief that is not there": (tf_config(TWO, 0, "chief"), "cluster 0 of the job"),
    "an index too high": (tf_config(TWO, 2), "task index 2, and its cluster 2"),
    "an index below": (tf_config(TWO, -1), "task index -1"),
    "an index of truth": (tf_config(TWO, True), "task index True"),
    "half an index": (tf_config(TWO, 0.5), "task index 0.5"),
    "an index of words": (tf_config(TWO, "first"), "task index 'first'"),
    "no index": (tf_config(TWO, None), "task index None"),
    "one address twice": (tf_config({"worker": ["a:1", "A:1"]}), "'A:1' twice"),
    "chief and worker": (tf_config({"chief": ["a:1"], **TWO}), "'a:1' twice"),
    "addresses by number": (tf_config({"worker": {"0": "a:1"}}), "a list was expected"),
    "one address": (tf_config({"worker": "a:1"}), "a list was expected"),
    "an address of numbers": (tf_config({"worker": [1]}), "which is no text"),
    "no port": (tf_config({"worker": ["a"]}), "which is not host:port"),
    "an empty port": (tf_config({"worker": ["a:"]}), "whose port is no number"),
    "a port of words": (tf_config({"worker": ["a:http"]}), "whose port is no number"),
    "a port too high": (tf_config({"worker": ["a:65536"]}), "up to 65,535"),
    "a port below": (tf_config({"worker": ["a:-5"]}), "whose port is no number"),
    "a long port": (tf_config({"worker": ["a:" + "1" * 5_000]}), "whose port is no"),
    "a port with a sign": (tf_config({"worker": ["a:+22"]}), "whose port is no number"),
    "port 0 of two": (tf_config({"worker": ["a:0", "b:1"]}), "the port 0 in 'a:0'"),
    "bare IPv6": (tf_config({"worker": ["fd00::1:2222"]}), "write [host]:port"),
    "no host": (tf_config({"worker": [":2222"]}), "which is not host:port"),
    "empty brackets": (tf_config({"worker": ["[]:2222"]}), "whose host is no name"),
    "a protocol": (tf_config({"worker": ["grpc://a:2222"]}), "whose host is no name"),
    "a blank": (tf_config({"worker": [" a:2222"]}), "whose host is no name"),
    "dots alone": (tf_config({"worker": ["a..b:2222"]}), "whose host is no name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_student_is_refused_with_the_form(name):
    text, says = REFUSED[name]

    with pytest.raises(errors.UsageError) as refusal:
        cluster_spec.parse(text)

    message = str(refusal.value)
    assert says in message
    assert "Expected {" in message
    assert message.count("\n") == 0
    assert len(message) < 800
