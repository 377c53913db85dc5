"""`avis --help` and each command's own: quick, and complete."""

import subprocess
import sys
from pathlib import Path

from pipelines import cli

SLOW = (
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "mlflow",
    "prefect",
    "dvc",
    "rich",
    "yaml",
)  # pydantic: typer itself
EVERY_HELP = f"""
import sys
from typer.testing import CliRunner
from typer.main import get_command
from pipelines.cli import app, main

sys.argv = ["avis", "--help"]
try:
    main()
except SystemExit:
    pass
print("slow:", *(name for name in {(*SLOW, "pydantic")} if name in sys.modules))

def show(command, words):
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output, (words, result.output)
    print(" ".join(words))
    for name, inner in getattr(command, "commands", {{}}).items():
        show(inner, [*words, name])

show(get_command(app), [])  # typer itself imports pydantic for a command's own
print("slow:", *(name for name in {SLOW} if name in sys.modules))
"""


def test_every_command_has_a_help_that_imports_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("slow:")] == ["slow:", "slow:"]
    assert {"predict", "champion rollback", "manifest from-aviseg"} <= set(lines)


def test_every_file_of_a_group_is_in_the_table() -> None:
    folder = Path(cli.__file__).with_name("commands")
    files = {file.parent.name: set() for file in folder.glob("*/__init__.py")}
    for file in folder.glob("*/*.py"):
        if file.stem != "__init__":
            files[file.parent.name].add(file.stem)
    assert files == {group: set(names) for group, names in cli.COMMANDS.items()}
