"""Work in the background: done once, stopped when nobody wants it, never lost in silence."""

import threading
import time

import pytest

from protolens.errors import ProtolensError
from protolens.serve import jobs as module
from protolens.serve.jobs import BusyError, Job, Jobs


@pytest.fixture
def jobs():
    made = Jobs(("work",))
    yield made
    made.close()


def finished(job: Job) -> Job:
    for _ in range(2000):
        if job.state not in ("waiting", "running"):
            return job
        time.sleep(0.005)
    raise AssertionError(job.state)


def test_what_was_asked_for_before_is_not_done_again(jobs):
    made = []
    first = jobs.start("work", "key", "about", lambda job: made.append(1))
    assert jobs.start("work", "key", "about", lambda job: made.append(2)) is first
    assert finished(first).state == "done"
    assert jobs.start("work", "key", "about", lambda job: made.append(3)) is first
    assert made == [1]
    assert jobs.start("work", "other", "about", lambda job: None) is not first


def test_what_failed_is_tried_again(jobs):
    def fails(job):
        raise ProtolensError("the reason")

    first = finished(jobs.start("work", "key", "about", fails))
    assert (first.state, first.error) == ("failed", "the reason")
    assert finished(jobs.start("work", "key", "about", lambda job: 7)).facts()["result"] == 7


def test_an_unexpected_error_is_told_in_a_sentence(jobs):
    job = finished(jobs.start("work", "key", "about", lambda job: 1 / 0))
    assert (job.state, job.error) == ("failed", "unexpected ZeroDivisionError (division by zero)")


def test_work_stops_at_its_next_step(jobs):
    begun = threading.Event()

    def works(job):
        while True:
            begun.set()
            job.step(0.5)
            time.sleep(0.001)

    job = jobs.start("work", "key", "about", works)
    assert begun.wait(10)
    jobs.cancel(job.id)
    assert finished(job).state == "cancelled"
    assert job.facts()["share"] == 0.5


def test_what_waits_and_is_not_wanted_never_begins(jobs):
    held, made = threading.Event(), []
    jobs.start("work", "first", "about", lambda job: held.wait(10))
    second = jobs.start("work", "second", "about", lambda job: made.append(1))
    jobs.cancel(second.id)
    held.set()
    assert finished(second).state == "cancelled"
    assert not made


def test_too_much_waiting_is_refused(jobs):
    held = threading.Event()
    for number in range(module.WAITING + 1):
        last = jobs.start("work", number, "about", lambda job: held.wait(10))
        while number == 0 and last.state == "waiting":
            time.sleep(0.001)
    with pytest.raises(BusyError, match="try again"):
        jobs.start("work", "one more", "about", lambda job: None)
    held.set()


def test_old_results_are_forgotten(jobs, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    first = finished(jobs.start("work", 0, "about", lambda job: None))
    for number in range(1, 6):
        finished(jobs.start("work", number, "about", lambda job: None))
    assert len(jobs.known) <= 4
    with pytest.raises(ProtolensError, match="ask for it again"):
        jobs.find(first.id)
