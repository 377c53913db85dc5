"""The command `avis`: its commands lie in pipelines/commands/<group>/<name>.py.

All of these files are imported for `avis --help`: each imports what it needs when it runs.
"""

import io
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# A file of a group's folder holds the command of its own name: a function, or a typer.Typer of sub-commands.
COMMANDS = {
    "data": ("manifest", "ingest", "export", "forget", "gc"),
    "labels": ("convert", "qa", "preannotate", "corrections", "agree", "suspect"),
    "models": ("predict", "retrain", "champion", "pretrain", "weights", "models", "mllm"),
    "results": ("results", "evaluate", "avsbench", "card"),
    "runs": ("profile", "check", "rebuild", "study", "runs", "ui"),
    "servers": ("up", "down", "status", "logs", "serve", "storage", "doctor", "selftest", "deploy"),
}


class _Groups(TyperGroup):
    """Lists the commands by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group; the types are click's, which typer has made its own."""
        longest = max(map(len, self.commands))
        limit = formatter.width - longest - 6
        for group, names in COMMANDS.items():
            with formatter.section(group.capitalize()):
                formatter.write_dl(
                    [(f"{name:{longest}}", self.commands[name].get_short_help_str(limit)) for name in names]
                )


app = typer.Typer(
    cls=_Groups,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich for the help alone takes three times as long as all the rest
    pretty_exceptions_enable=False,
    help="Audio-visual instance segmentation: from a list of videos to a scored, compared, tracked model.",
)
for _group, _names in COMMANDS.items():
    for _name in _names:
        _module = import_module(f"pipelines.commands.{_group}.{_name}")
        _command = getattr(_module, _name)
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name)
        else:
            app.command(_name, context_settings=getattr(_module, "CONTEXT_SETTINGS", None))(_command)


def main() -> None:
    """Run the command line: an AvisError becomes one message and exit code 1."""
    from components.core.text.terminal import guard_terminal

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be no UTF-8
    guard_terminal()
    try:
        from components.core.run.errors import AvisError
        from components.core.run.process import end_cleanly_on_terminate, spin_briefly

        spin_briefly()
        end_cleanly_on_terminate()
        app()
    except AvisError as error:
        print(f"avis: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        from components.core.run.process import said_to_user

        message = said_to_user(error)
        if message is None:
            raise
        print(f"avis: {message}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
