"""TF_CONFIG: whose addresses are safe, and who does not answer."""

import socket

import pytest

from lmcodistill import errors
from lmcodistill.supervision import cluster_spec, tf_config


@pytest.mark.parametrize(
    "address", ["8.8.8.8:2222", "[2606:4700::1111]:2222", "1.1.1.1:80"]
)
def test_a_public_address_is_refused(address):
    task = cluster_spec.Task(0, ("127.0.0.1:2222", address))

    with pytest.raises(errors.UsageError, match="no password") as refusal:
        tf_config.check_addresses(task, allow_public=False)

    assert address in str(refusal.value)
    assert "--allow_public_addresses" in str(refusal.value)


def test_a_public_address_is_taken_when_it_is_meant():
    task = cluster_spec.Task(1, ("10.0.0.1:2222", "8.8.8.8:2223"))

    warning = tf_config.check_addresses(task, allow_public=True)

    assert warning is not None
    assert "port 2223 of all interfaces" in warning


@pytest.mark.parametrize(
    "address", ["10.1.2.3:2222", "192.168.0.7:2222", "[fd00::1]:2222", "172.16.0.1:1"]
)
def test_a_private_address_is_only_warned_about(address):
    assert tf_config.check_addresses(cluster_spec.Task(0, (address,)), False)


def test_a_name_that_nobody_knows_yet_is_let_through():
    task = cluster_spec.Task(0, ("127.0.0.1:2222", "student-0-1.invalid:2222"))

    assert tf_config.check_addresses(task, allow_public=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_cluster_within_this_machine_needs_no_warning(host):
    task = cluster_spec.Task(0, (f"{host}:2222", f"{host}:2223"))

    assert tf_config.check_addresses(task, allow_public=False) is None


def test_those_who_do_not_answer_are_named_with_the_reason():
    with socket.socket() as listening, socket.socket() as silent:
        for one in (listening, silent):
            one.bind(("127.0.0.1", 0))
        listening.listen()
        there, missing = (
            f"127.0.0.1:{one.getsockname()[1]}" for one in (listening, silent)
        )

        assert tf_config.unanswered([there, missing]) == {missing: "Connection refused"}
