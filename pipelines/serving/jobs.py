"""The videos that wait, are worked on and are done: in folders, so that the next server goes on with them."""

import json
import secrets
import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import Outcome, Worker
from components.tools.prediction.inputs import Input
from components.tools.prediction.one_video import Row, Task, Wanted, predict_one

State = Literal["receiving", "waiting", "running", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")
RESULT = "result"  # the folder of what was predicted, in the job's


@dataclass
class Job:
    """One video.

    owner: whose key it came with. status: of `Row`, when it is over. *_s: seconds since 1970.
    """

    id: str
    owner: str
    video: str
    state: State = "receiving"
    status: str = ""
    cause: str = ""
    sounds: str = ""
    objects: int = 0
    model: str = ""
    received_s: float = field(default_factory=time.time)
    started_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True)
class Rules:
    """What the server takes on.

    most_waiting: of all together; most_of_one: of one key, waiting or at work. deadline_s: of the work on one
    video. kept_s: how long what is over stays.
    """

    most_waiting: int = 100
    most_of_one: int = 20
    deadline_s: float = 3600
    kept_s: float = 86_400
    workers: int = 1


class Refused(AvisError):  # noqa: N818
    """A video that is not taken on; `code` is HTTP's."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(what)
        self.code = code


class Jobs:
    """The queue and its workers: processes that hold the model; one is ended with a job that is cancelled.

    Args:
        folder: of all jobs.
        rules: see there.
        wanted: asked at the beginning of each job: with which model, and what is written.
        limits: of the workers' processes.
        work: done in them.
    """

    def __init__(
        self,
        folder: Path,
        rules: Rules,
        wanted: Callable[[], Wanted],
        limits: Limits,
        work: Callable[[Task], Row] = predict_one,
    ) -> None:
        self.folder, self.rules, self._wanted = folder, rules, wanted
        self._work_of, self._limits = work, limits
        self._jobs: dict[str, Job] = {}
        self._turns: OrderedDict[str, deque[Job]] = (
            OrderedDict()
        )  # an owner's jobs, in the order of their turns
        self._changed = threading.Condition()
        self._is_over = False
        folder.mkdir(parents=True, exist_ok=True)
        self._recall()
        self._workers: dict[int, tuple[Worker[Task, Row], Job | None]] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(rules.workers)
        ]
        for thread in self._threads:
            thread.start()

    def receive(self, owner: str, video: str) -> Job:
        """Begin a job whose video is on its way; `enqueue` or `drop` follows.

        Raises:
            Refused: too many wait.
        """
        with self._changed:
            self._tidy()
            mine = [job for job in self._jobs.values() if job.owner == owner and job.state not in OVER]
            if len(mine) >= self.rules.most_of_one:
                raise Refused(f"{len(mine)} of your videos wait or are at work, as many as may", 429)
            if (
                sum(job.state in ("receiving", "waiting") for job in self._jobs.values())
                >= self.rules.most_waiting
            ):
                raise Refused("the queue is full", 429)
            job = Job(secrets.token_urlsafe(18), owner, video)
            self._jobs[job.id] = job
        (self.folder / job.id).mkdir()
        return job

    def file(self, job: Job) -> Path:
        """Where its video lies."""
        return self.folder / job.id / job.video

    def enqueue(self, job: Job) -> None:
        """Let a job that is received wait for its turn; from now on no end of the server loses it."""
        job.state = "waiting"
        write_json(self.folder / job.id / "job.json", asdict(job))
        with self._changed:
            self._turns.setdefault(job.owner, deque()).append(job)
            self._changed.notify()

    def drop(self, job: Job) -> None:
        """Forget a job whose video did not arrive."""
        with self._changed:
            self._jobs.pop(job.id, None)
        shutil.rmtree(self.folder / job.id, ignore_errors=True)

    def get(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        return self._jobs.get(job_id)

    def ahead(self, job: Job) -> int | None:
        """How many jobs come before a waiting one, as owners take turns; None of one that does not wait."""
        with self._changed:
            mine = self._turns.get(job.owner, deque())
            if job not in mine:
                return None
            place = mine.index(job)
            others = [len(jobs) for owner, jobs in self._turns.items() if owner != job.owner]
            return place + sum(min(count, place + 1) for count in others)

    def counts(self) -> dict[State, int]:
        """How many jobs there are, by state."""
        states: tuple[State, ...] = ("receiving", "waiting", "running", *OVER)
        with self._changed:
            return {state: sum(job.state == state for job in self._jobs.values()) for state in states}

    def cancel(self, job: Job) -> None:
        """End a job that waits or is at work; nothing of one that is over."""
        with self._changed:
            if job.state in OVER:
                return
            waiting = self._turns.get(job.owner)
            if waiting is not None and job in waiting:
                waiting.remove(job)
            job.state, job.ended_s = "cancelled", time.time()
            busy = [worker for worker, at in self._workers.values() if at is job]
        self._write(job)
        for worker in busy:
            worker.stop(kill=True)

    def close(self) -> None:
        """End the workers; what waits or is at work is taken up by the next server."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            busy = [worker for worker, _ in self._workers.values()]
        for worker in busy:
            worker.stop(kill=True)
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        worker = self._worker()
        while (job := self._next(number, worker)) is not None:
            outcome = self._attempt(worker, job)
            with self._changed:
                self._workers[number] = (worker, None)
                if self._is_over:
                    return  # it is done anew by the next server
                was_cancelled = job.state == "cancelled"
            if was_cancelled:
                worker = self._worker()
                shutil.rmtree(self.folder / job.id / RESULT, ignore_errors=True)
            else:
                self._finish(job, outcome)

    def _worker(self) -> Worker[Task, Row]:
        return Worker(self._work_of, limits=self._limits, workers=self.rules.workers)

    def _next(self, number: int, worker: Worker[Task, Row]) -> Job | None:
        """Wait for the job of the owner whose turn it is; None at the end."""
        with self._changed:
            while not self._is_over:
                for owner in list(self._turns):
                    jobs = self._turns.pop(owner)
                    if jobs:
                        job = jobs.popleft()
                        self._turns[owner] = jobs  # at the end: others are next
                        job.state, job.started_s = "running", time.time()
                        self._workers[number] = (worker, job)
                        return job
                self._changed.wait()
        return None

    def _attempt(self, worker: Worker[Task, Row], job: Job) -> Outcome[Row]:
        try:
            wanted = self._wanted()
            job.model = str(wanted.model)
            file = self.file(job)
            task = Task(Input(RESULT, job.video, file), file, wanted, self.folder / job.id, progress=False)
            return worker.attempt(job.id, task, self.rules.deadline_s)
        except AvisError as error:
            return Outcome(job.id, None, "error", str(error), 0.0)

    def _finish(self, job: Job, outcome: Outcome[Row]) -> None:
        row = outcome.value
        if row is None:
            job.status, job.cause = outcome.kind, outcome.message
        else:
            job.status, job.cause, job.sounds, job.objects = row.status, row.cause, row.sounds, row.objects
        job.ended_s = time.time()
        job.state = "done" if job.status == "ok" else "failed"
        self._write(job)
        with suppress(OSError):
            self.file(job).unlink()

    def _write(self, job: Job) -> None:
        try:
            write_json(self.folder / job.id / "job.json", asdict(job))
        except OSError as error:  # a full disk: the next server will do it anew
            print(f"{job.id} cannot be noted: {error.strerror}", flush=True)

    def _recall(self) -> None:
        """Take up what an earlier server left; what had not arrived is gone."""
        found = []
        for folder in self.folder.iterdir():
            try:
                found.append(Job(**json.loads((folder / "job.json").read_bytes())))
            except (OSError, ValueError, TypeError):
                shutil.rmtree(folder, ignore_errors=True)
        for job in sorted(found, key=lambda one: one.received_s):
            self._jobs[job.id] = job
            if job.state not in OVER:
                job.state, job.started_s = "waiting", None
                self._turns.setdefault(job.owner, deque()).append(job)

    def _tidy(self) -> None:
        """Remove what was over long ago."""
        limit_s = time.time() - self.rules.kept_s
        for job in [one for one in self._jobs.values() if (one.ended_s or limit_s) < limit_s]:
            del self._jobs[job.id]
            shutil.rmtree(self.folder / job.id, ignore_errors=True)
