"""A fault of a process: one item kills its worker."""

import os
import signal
from pathlib import Path

from components.core.run.engine import run_items
from components.core.run.params import EngineParams
from pipelines.selftest.verdict import hold


def worker_dies(folder: Path) -> str:
    """The item becomes a crash that says so, and all others are done."""
    items = [(name, name) for name in ("first", "deadly", "last")]
    found = {
        outcome.key: outcome
        for outcome in run_items(_work, items, engine=EngineParams(workers=2), label="three items")
    }
    hold("others were lost", is_so={found[name].kind for name in ("first", "last")} == {"ok"})
    hold("the death went unnoticed", is_so=found["deadly"].kind == "crash")
    return f"that item: {found['deadly'].message}; the others are done"


def _work(name: str) -> str:
    if name == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    return name
