"""What reaches a terminal and the logs, printed from anywhere in a process."""

import subprocess
import sys
import textwrap

import pytest
from tqdm import tqdm

from components.core.text.terminal import Screen, plain, visible

HOSTILE = "\x1b[2J\x1b]0;title\x07\u202egnp.exe\u2066\x00\x85\r\x9b31m"


class Terminal:
    """A stream that says it is one."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_signs_that_move_hide_or_turn_become_their_codes() -> None:
    assert visible(HOSTILE).isprintable() and visible("a\tb\nc") == "a\tb\nc"
    assert plain(f"a\n{HOSTILE}").isprintable() and plain("a\nb") == "a\\x0ab"
    joined = "\N{WOMAN}\u200d\N{ROCKET} e\u0301 \u0646\u0645\u06cc\u200c\u062e"  # a sign, an accent, a word
    assert visible(joined) == joined


def test_progress_and_colours_of_our_own_pass_and_those_of_others_do_not() -> None:
    from rich.console import Console
    from rich.text import Text

    stream = Terminal()
    screen = Screen(stream)
    print(f"a {HOSTILE} \x1b[31m red", file=screen)
    assert "\x1b" not in stream.text and "\r" not in stream.text and "\u202e" not in stream.text
    stream.text = ""
    for _ in tqdm(range(2), file=screen, desc="go", mininterval=0):
        pass
    assert stream.text.count("\r") >= 2 and "\\x" not in stream.text
    stream.text = ""
    Console(file=screen.rich_proxied_file, color_system="standard").print(Text(plain(HOSTILE), style="red"))
    assert stream.text.startswith("\x1b[31m\\x1b[2J") and stream.text.count("\x1b") == 2


def test_whatever_a_process_prints_warns_logs_or_dies_of_is_redacted() -> None:
    code = """
    import logging, sys, warnings
    from components.core.text.terminal import guard_terminal
    early = logging.StreamHandler()
    guard_terminal(); guard_terminal()
    print("printed http://me:geheim@h/", "\\x1b[2J")
    warnings.warn("warned http://me:geheim@h/")
    logging.getLogger("a").addHandler(early)
    logging.getLogger("a").error("logged %s \\x1b[2J", "http://me:geheim@h/")
    try:
        raise ValueError("caught http://me:geheim@h/")
    except ValueError:
        logging.getLogger("a").exception("with a trace")
    raise ValueError("died of http://me:geheim@h/")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "geheim" not in said and "\x1b" not in said
    for word in ("printed", "warned", "logged", "caught", "died of"):
        assert f"{word} http://***@h/" in said, said


def test_a_table_of_others_words_keeps_to_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from components.core.text.terminal import print_table

    print_table(("name [b]", "n"), [(f"[red]a[/red] {HOSTILE}", "http://me:geheim@h/")], title=HOSTILE)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3 and "geheim" not in out and "[red]a[/red]" in out and "name [b]" in out
    assert all(sign.isprintable() or sign == "\n" for sign in out)
