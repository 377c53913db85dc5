"""The process that sends what stages said to MLflow.

    python -m components.core.tracking.sender FOLDER     (MLFLOW_TRACKING_URI is set)

One process serves all stages that run beside or soon after each other: importing MLflow takes seconds, and
one writer needs no luck with sqlite's locks. It sends the sessions below FOLDER, oldest first: those that
earlier commands left, and those that stages are writing. A session that is sent to its end is removed. When
there has been nothing to do for a while, or MLflow is away and no stage is running, it ends.
"""

import os
import sys
import time
from pathlib import Path

from components.core.run.process import disable_telemetry
from components.core.text.terminal import guard_terminal
from components.core.tracking.address import store_name
from components.core.tracking.mlflow_store import METRICS_A_REQUEST, Away, Store, StoredRun, short
from components.core.tracking.spool import (
    SentSession,
    is_locked,
    pending,
    sender_lock,
    start_of,
    take_lock,
    tell_away,
    writer_lock,
)

_POLL_S = 0.3
_RETRY_S = 2.0
_IDLE_S = 20.0  # long enough to bridge the time between two stages


def main(folder: Path) -> None:
    """Serve a folder, unless another process does so already."""
    disable_telemetry()
    guard_terminal()
    uri = os.environ["MLFLOW_TRACKING_URI"]
    lock = take_lock(sender_lock(folder, uri))
    if lock is not None:
        with lock:
            Sender(folder, uri).serve()


class Sender:
    """Sends all sessions below a folder to one store."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self._store: Store | None = None
        self._sessions: dict[Path, _Session] = {}
        self._damaged: set[Path] = set()

    def serve(self) -> None:
        """Send until there has been nothing to do for a while, or MLflow is away and nobody waits for it."""
        last_work = time.monotonic()
        while self.folder.exists() and time.monotonic() < last_work + _IDLE_S:
            try:
                if self._send_all():
                    last_work = time.monotonic()
            except Away as error:
                _say(str(error))
                self._disconnect()
                waiting = [path for path in pending(self.folder) if is_locked(writer_lock(path))]
                for session in waiting:
                    tell_away(session, str(error))
                if not waiting:
                    return
                time.sleep(_RETRY_S)
                last_work = time.monotonic()
            time.sleep(_POLL_S)

    def _send_all(self) -> bool:
        """One round; return whether there was any session to send."""
        if self._store is None:
            self._store = Store(self.uri, self.folder)
        sent = False
        for path in pending(self.folder):
            if path in self._damaged:
                continue
            try:
                if self._is_mine(path):
                    sent = True
                    self._send(path, self._store)
            except Away:
                raise
            except Exception as error:  # a damaged folder must not keep the others from being sent
                _say(f"{path}: {short(error)}")
                self._damaged.add(path)
                if path.is_dir():
                    tell_away(path, short(error))
        return sent

    def _is_mine(self, path: Path) -> bool:
        """Another sender serves running stages with another store; what is left behind is anybody's."""
        if path in self._sessions or start_of(path)["store"] == store_name(self.uri):
            return True
        return not is_locked(writer_lock(path))

    def _send(self, path: Path, store: Store) -> None:
        gone = take_lock(writer_lock(path))  # asked before the last lines are read, lest some are missed
        session = self._sessions.get(path)
        if session is None:
            session = self._sessions[path] = _Session(path, store)
            if gone is None:
                session.run.start_monitor()
        session.send()
        if session.ended or gone is not None:
            del self._sessions[path]
            session.finish()
        if gone is not None:
            gone.close()

    def _disconnect(self) -> None:
        for session in self._sessions.values():
            session.run.stop_monitor()
        self._sessions.clear()
        self._store = None


class _Session:
    """A session and the run it belongs to."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._spooled = SentSession(folder)
        self.run = StoredRun(store, self._spooled.start, folder / "artifacts")
        self._spooled.tell_identity(self.run.run_id, self.run.experiment_id)
        self.ended = False

    def send(self) -> None:
        """Send all that was said until now, in order.

        Raises:
            Away: if MLflow takes nothing now; what is sent is remembered.
        """
        from mlflow.exceptions import MlflowException

        while not self.ended:
            group, end = self._spooled.next_group(METRICS_A_REQUEST)
            if not group:
                return
            kind = group[0]["operation"]
            try:
                self.run.send(group)
                self.ended = kind == "end"
            except MlflowException as error:  # refused for good: say so and go on
                _say(f"{kind} refused: {short(error)}")
            self._spooled.sent(end)

    def finish(self) -> None:
        """Remove the session after its last operation; a stage that was killed said none."""
        self.run.stop_monitor()
        if not self.ended:
            self.run.terminate("KILLED")
        self._spooled.remove()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
