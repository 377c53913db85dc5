"""Faults of the disk that `data/` lies on."""

import resource
import subprocess
import sys
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import remove_leftovers, write_bytes
from components.core.run.journal import Journal, read_journal
from components.core.run.output_folder import alone_in
from pipelines.selftest.verdict import DidNotHold, hold

_WRITER = """
import sys
from pathlib import Path
from components.core.run.files import replace_folder
with replace_folder(Path(sys.argv[1])) as new:
    (new / "half.txt").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def no_room(folder: Path) -> str:
    """A file that outgrows what may be written leaves the old one, and nothing else."""
    file = folder / "scores.json"
    write_bytes(file, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        write_bytes(file, bytes(2_000_000))
    except OSError as error:
        seen = error.strerror
    else:
        raise DidNotHold("2 MB were written where 1 MB was allowed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    hold("the file that was there is gone", is_so=file.read_bytes() == b"old")
    hold("half a file is left", is_so=list(folder.iterdir()) == [file])
    return f"refused ({seen}), the old file stays, nothing half-written"


def killed_writer(folder: Path) -> str:
    """A folder that was being replaced is the old one after kill -9, and the next start clears the rest."""
    target = folder / "model"
    target.mkdir()
    (target / "whole.txt").write_text("whole")
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with writer:
        began = next(iter(writer.stdout or ()), "")
        writer.kill()
    hold("the writer did not begin", is_so=began == "writing\n")
    hold("the old folder is damaged", is_so=[one.name for one in target.iterdir()] == ["whole.txt"])
    left = len(list(folder.iterdir())) - 1
    remove_leftovers(folder)
    hold("leftovers stay", is_so=list(folder.iterdir()) == [target])
    return f"the old folder stays; {left} leftover cleared at the next start"


def cut_journal(folder: Path) -> str:
    """Of a journal whose last line is cut, all lines before it count."""
    file = folder / "journal"
    journal = Journal(file, "selftest 1", in_memory=False)
    for number in range(3):
        journal.record(f"clip{number}", {"number": number})
    journal.close()
    file.write_bytes(file.read_bytes()[:-5])
    keys = [key for key, _ in read_journal(file)]
    hold(f"of three lines, the last one cut, {keys} are read", is_so=keys == ["clip0", "clip1"])
    return "two of three items are kept, the cut one is done again"


def two_at_once(folder: Path) -> str:
    """A second run of a stage in a folder is refused by name."""
    with alone_in(folder, "selftest"):
        try:
            with alone_in(folder, "selftest"):
                raise DidNotHold("both runs had the folder")
        except AvisError as error:
            return f"the second is refused: {error.what}"
