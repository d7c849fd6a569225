"""The order of what happens around updates, and how training ends; no TensorFlow."""

import types

import pytest

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.training import divergence
from lmcodistill.training import loop as loop_lib
from lmcodistill.training import step as step_lib
from lmcodistill.training.hooks import reload as reload_lib
from lmcodistill.training.hooks.every import Every

DONE, STOPPED, BACK = loop_lib.Outcome


class Fakes:
    """Stands for everything that the loop calls, and writes down the calls.

    Attributes:
        calls: What was called, with its step.
        bad: Steps whose update is not finite.
        bad_weights: Steps at which a weight is not finite.
        stops: Steps at which this worker is asked to stop.
        saves: Steps at which it is asked for a checkpoint.
        waits: Steps whose reload waits until somebody asks to stop.
        ready: Steps at which the chief has new teachers.
        has_checkpoint: Whether there is one to go back to.
    """

    def __init__(self, **given):
        self.calls = []
        names = ("bad", "bad_weights", "stops", "saves", "waits", "ready")
        names = (*names, "has_checkpoint")
        vars(self).update({name: given.pop(name, ()) for name in names})
        self.step = 0
        settings = training.Training(
            **{"num_train_steps": 6, "checkpoint_every_steps": 3, **given}
        )
        self.every = Every(settings.checkpoint_every_steps, settings.num_train_steps)
        self.loop = loop_lib.Loop(
            last=settings.num_train_steps,
            student=types.SimpleNamespace(update=self.update),
            chief=loop_lib.Chief(publish=self.note("publish")),
            reload=self,
            gradients=self.note("gradients"),
            evaluate=self.note("evaluate"),
            checkpoint=Checkpoint(self),
            guard=divergence.Guard(settings, 0),
            asked_to_stop=lambda: self.step in self.stops,
            asked_to_save=lambda: self.step in self.saves,
            on_step=lambda step: setattr(self, "step", step),
            beat=self.beat,
        )

    def note(self, name):
        return lambda step: self.calls.append((name, step))

    def beat(self, step, force=False):
        self.calls.append(("beat!" if force else "beat", step))

    def __call__(self, step):
        if step in self.waits:
            raise reload_lib.WaitStopped

    def announce(self):
        return self.step in self.ready

    def swap_staged(self, step):
        self.calls.append(("swap", step))

    def update(self, step, control):
        self.calls.append(("update", step))
        zeros = dict.fromkeys(step_lib.Totals._fields, 0.0)
        skipped = {"skipped": 1.0, "label_loss": float("nan")}
        return step_lib.Totals(**zeros | (skipped if step in self.bad else {})), control

    def run(self, first=0):
        ending = self.loop.run(first)
        return ending.outcome, ending.step

    def steps_of(self, name):
        return [step for called, step in self.calls if called == name]


class Checkpoint:
    """Stands for the hook that saves."""

    def __init__(self, fakes):
        self._fakes, self._is_asked = fakes, False

    def ask(self):
        self._is_asked = True

    def is_due(self, step):
        return self._is_asked or self._fakes.every.is_due(step)

    def __call__(self, step, is_last=False):
        if step in self._fakes.bad_weights:
            raise errors.DivergedError("embedding is not finite")
        self._is_asked = False
        self._fakes.calls.append(("save!" if is_last else "save", step))

    def exists(self):
        return bool(self._fakes.has_checkpoint)


def test_a_step_is_publish_update_evaluate_save_beat():
    fakes = Fakes(num_train_steps=1)

    assert fakes.run() == (DONE, 1)
    assert fakes.calls == [
        ("publish", 0),
        ("gradients", 0),
        ("update", 0),
        ("evaluate", 1),
        ("save!", 1),
        ("beat", 1),
        ("publish", 1),
        ("beat!", 1),
    ]


def test_asked_for_a_checkpoint_it_saves_once_all_know_and_goes_on():
    fakes = Fakes(num_train_steps=12, checkpoint_every_steps=12, saves=[4])

    assert fakes.run() == (DONE, 12)
    # Update 4 reaches 5; its totals are looked at after two more.
    assert fakes.steps_of("save") == [8]


def test_training_goes_on_from_its_first_step_and_saves_by_period_and_at_the_end():
    fakes = Fakes()

    assert fakes.run(first=2) == (DONE, 6)
    assert fakes.steps_of("update") == [2, 3, 4, 5]
    assert (fakes.steps_of("save"), fakes.steps_of("save!")) == ([3], [6])


def test_finished_run_publishes_its_last_export_again_and_trains_nothing():
    fakes = Fakes()

    assert fakes.run(first=6) == (DONE, 6)
    assert fakes.calls == [("publish", 6), ("beat!", 6)]


def test_run_that_went_further_than_asked_for_stays_where_it_is():
    fakes = Fakes()

    assert fakes.run(first=8) == (DONE, 8)
    assert fakes.calls == [("publish", 8), ("beat!", 8)]


def test_request_to_stop_is_seen_by_all_two_updates_later_and_saved():
    fakes = Fakes(num_train_steps=100, checkpoint_every_steps=100, stops=[4])

    assert fakes.run() == (STOPPED, 7)
    assert fakes.steps_of("save!") == [7]


def test_request_to_stop_at_a_checkpoint_is_seen_at_once():
    assert Fakes(stops=[2]).run() == (STOPPED, 3)


def test_wait_that_was_given_up_saves_the_step_that_was_reached():
    fakes = Fakes(waits=[4])

    assert fakes.run() == (STOPPED, 4)
    assert fakes.steps_of("update") == [0, 1, 2, 3]
    assert fakes.steps_of("save!") == [4]


def test_new_teachers_come_two_updates_after_the_chief_has_them():
    fakes = Fakes(num_train_steps=100, checkpoint_every_steps=100, ready=[4])

    fakes.run()

    assert fakes.steps_of("swap") == [7]


def test_nothing_is_saved_while_updates_are_skipped():
    fakes = Fakes(bad=[2])

    assert fakes.run() == (DONE, 6)
    assert (fakes.steps_of("save"), fakes.steps_of("save!")) == ([], [6])


@pytest.mark.parametrize(
    "cause", [{"bad": range(100), "max_skipped_updates": 2}, {"bad_weights": [3]}]
)
def test_divergence_goes_back_to_a_checkpoint(cause):
    assert Fakes(has_checkpoint=True, **cause).run() == (BACK, 3)


def test_divergence_without_a_checkpoint_ends_the_run():
    with pytest.raises(errors.DivergedError, match="no checkpoint to go back to"):
        Fakes(bad_weights=[3]).run()
