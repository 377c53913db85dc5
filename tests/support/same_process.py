"""What workers do, in the test's own process."""

import pickle
from collections.abc import Callable
from typing import Any

from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import Outcome, Worker, _answer


class SameProcess(Worker[Any, Any]):
    """A Worker without a process of its own, and without limits; items and answers are copied as there."""

    def __init__(self, function: Callable[[Any], Any], **_: Any) -> None:
        self._function = function

    def attempt(
        self, key: str, item: Any, timeout_s: float | None = None, limits: Limits | None = None
    ) -> Outcome[Any]:
        outcome: Outcome[Any] = pickle.loads(_answer(self._function, pickle.dumps((Limits(), key, item))))
        return outcome

    def stop(self, *, kill: bool) -> None: ...
