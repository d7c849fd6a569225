"""Bytes, seconds and steps of the exchange, by hand."""

import dataclasses

import pytest

from lmcodistill.planning import exchange_time
from lmcodistill.settings import codistillation


@pytest.fixture
def moved(work, machine, network, storage):
    """Three teachers of 456 bytes each, to a group of four."""
    taught = work._replace(teachers=3)
    return exchange_time.traffic(taught, "float32", 4, machine, network, storage)


def test_an_export_is_written_once_and_read_by_each_pupil(moved):
    # 456 bytes at 45.6 a second, and six files of a second each.
    assert moved.published_bytes == 456
    assert moved.read_bytes == 3 * 456
    assert moved.write_seconds == pytest.approx(10.0 + 6.0)
    assert moved.read_seconds == pytest.approx(3 * 16.0)


def test_training_stalls_for_copies_and_for_passing_teachers_on(moved):
    # A copy reads and writes 456 bytes at 456 a second; the ring takes 7.5 s.
    assert moved.stall_seconds == pytest.approx((2.0, 3 * (7.5 + 2.0)))


def test_narrower_exports_travel_faster_and_stall_alike(
    work, moved, machine, network, storage
):
    taught = work._replace(teachers=3)

    narrow = exchange_time.traffic(taught, "int8", 4, machine, network, storage)

    # 85 whole numbers; scales of 5 rows, 12 and 12 columns, 5 rows; 29 in vectors.
    assert narrow.published_bytes == 85 + 4 * (34 + 29)
    assert narrow.read_bytes == 3 * narrow.published_bytes
    assert narrow.stall_seconds == moved.stall_seconds


def test_what_stalls_is_shared_by_the_steps_between(moved):
    exchange = codistillation.Exchange(publish_every_steps=10, reload_every_steps=5)

    seconds = exchange_time.seconds_per_step(exchange, moved, step_seconds=1.0)

    assert seconds == pytest.approx(2.0 / 10 + 28.5 / 5)


def test_a_scheduled_exchange_waits_for_what_its_delay_does_not_hide(moved):
    freshest = codistillation.Exchange(publish_every_steps=10, reload_every_steps=5)
    scheduled = dataclasses.replace(freshest, mode="scheduled", delay_steps=14)

    waits, hides = (
        exchange_time.seconds_per_step(scheduled, moved, step_seconds)
        - exchange_time.seconds_per_step(freshest, moved, step_seconds)
        for step_seconds in (1.0, 100.0)
    )

    # 16 s to write and 48 s to read; 14 steps of a second hide 14 of the 64.
    assert waits == pytest.approx((64 - 14) / 5)
    assert hides == 0.0


def test_periods_hide_what_storage_takes(moved):
    exchange = codistillation.Exchange(publish_every_steps=10, reload_every_steps=5)

    found = exchange_time.periods(exchange, moved, step_seconds=5.0, students=4)

    assert found.shortest_publish_steps == 4  # 16 s are 3.2 steps.
    assert found.shortest_reload_steps == 10  # 48 s are 9.6 steps.
    assert found.shortest_delay_steps == 14
    # Just missed after 10 steps of the next and 4 of its writing; seen at a look,
    # read in 10 steps; used until the next look's is read, 10 steps later.
    assert found.oldest_teacher_steps == 10 + 4 + 10 + 10
    # Each of 4 students, per second: 456 / 50 written, 3 * 456 / 25 read.
    assert found.storage_bytes_per_second == pytest.approx(4 * (9.12 + 54.72))


def test_the_shortest_period_is_one_step(moved):
    exchange = codistillation.Exchange()

    found = exchange_time.periods(exchange, moved, step_seconds=1_000.0, students=4)

    assert (found.shortest_reload_steps, found.shortest_publish_steps) == (1, 1)
