"""Long work in the background: how far it is, what came out, and a way to stop it."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from protolens.errors import ProtolensError, first_line

KEPT = 256  # finished jobs whose results are remembered
WAITING = 64  # jobs that may wait


class CancelledError(Exception):
    """Somebody asked for the work to stop."""


class BusyError(ProtolensError):
    """More is asked for than can be done soon."""


class Job:
    """A piece of work. state: waiting, running, done, failed or cancelled; share: of the work that is done."""

    def __init__(self, key: object, about: str):
        self.id, self.key, self.about = secrets.token_urlsafe(12), key, about
        self.state, self.share = "waiting", 0.0
        self.result: Any = None
        self.error = ""
        self.asked_to_stop = threading.Event()

    def step(self, share: float | None = None) -> None:
        """Say how far the work is. Raises CancelledError where it is no longer wanted."""
        if self.asked_to_stop.is_set():
            raise CancelledError
        if share is not None:
            self.share = min(1.0, share)

    def facts(self) -> dict[str, Any]:
        """What a client is told."""
        return {
            "id": self.id,
            "about": self.about,
            "state": self.state,
            "share": round(self.share, 3),
            "result": self.result if self.state == "done" else None,
            "error": self.error,
        }


class Jobs:
    """Jobs by number, each kind of work one after another. What was asked for before is not done again."""

    def __init__(self, kinds: tuple[str, ...]):
        self.pools = {kind: ThreadPoolExecutor(1, thread_name_prefix=f"protolens-{kind}") for kind in kinds}
        self.known: OrderedDict[str, Job] = OrderedDict()
        self.lock = threading.Lock()

    def start(self, kind: str, key: object, about: str, work: Callable[[Job], Any]) -> Job:
        """Begin work, or take the job with the same key that is not lost. Raises BusyError where too many wait."""
        with self.lock:
            for job in self.known.values():
                if job.key == (kind, key) and job.state not in ("failed", "cancelled"):
                    self.known.move_to_end(job.id)
                    return job
            if sum(job.state == "waiting" for job in self.known.values()) >= WAITING:
                raise BusyError("too much is being computed just now; try again in a minute")
            job = Job((kind, key), about)
            self.known[job.id] = job
            self._forget()
        self.pools[kind].submit(self._do, job, work)
        return job

    def find(self, number: str) -> Job:
        """The job of that number. Raises ProtolensError for an unknown one."""
        with self.lock:
            if number not in self.known:
                raise ProtolensError("this work is no longer known; ask for it again")
            return self.known[number]

    def cancel(self, number: str) -> Job:
        """Ask a job to stop; one that waits never begins."""
        job = self.find(number)
        job.asked_to_stop.set()
        return job

    def close(self) -> None:
        """Stop everything."""
        for job in list(self.known.values()):
            job.asked_to_stop.set()
        for pool in self.pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        finished = [number for number, job in self.known.items() if job.state not in ("waiting", "running")]
        for number in finished[: max(0, len(self.known) - KEPT)]:
            del self.known[number]

    def _do(self, job: Job, work: Callable[[Job], Any]) -> None:
        try:
            job.step()
            job.state = "running"
            job.result = work(job)
            job.share, job.state = 1.0, "done"
        except CancelledError:
            job.state = "cancelled"
        except ProtolensError as error:
            job.error, job.state = str(error), "failed"
        except Exception as error:  # the others wait for this thread
            job.error, job.state = f"unexpected {type(error).__name__} ({first_line(error)})", "failed"
