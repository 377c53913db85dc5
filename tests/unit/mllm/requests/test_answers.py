"""Answers that were paid: no flipped bit changes one, and what is damaged is said."""

import random
import sqlite3
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.mllm.requests.answers import Answers, Key, Reply

KEYS = [Key("m", "p", f"clip{number}", "video", "greedy") for number in range(8)]
REPLIES = [Reply(f"a dog barks, {number}", "stop", number, None, 0, 1) for number in range(8)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with Answers(tmp_path / "answers.sqlite") as answers:
        for key, reply in zip(KEYS, REPLIES, strict=True):
            answers.put(key, reply, key.clip)
    return tmp_path / "answers.sqlite"


def test_no_flipped_bit_changes_an_answer_and_one_that_is_lost_is_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = file.read_bytes()
    draw = random.Random(1)
    written = [place for place, value in enumerate(whole) if value]
    lost = named = 0
    for place in draw.sample(written, 80):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            with Answers(file) as answers:
                found = [answers.get(key) for key in KEYS]
                unsaid = found.count(None) and "damaged answers in" not in capsys.readouterr().out
                assert not unsaid, place
                for reply, expected in zip(found, REPLIES, strict=True):
                    assert reply in (expected, None), place
                lost += found.count(None)
                for key, reply, known in zip(KEYS, REPLIES, found, strict=True):
                    if known is None:  # asked again
                        answers.put(key, reply, key.clip)
                assert [answers.get(key) for key in KEYS] == REPLIES
        except AvisError as error:
            assert str(file) in str(error)
            named += 1
    assert lost and named


def test_answers_of_an_earlier_version_are_kept(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("ALTER TABLE answers DROP COLUMN checksum")
    for _ in range(2):
        with Answers(file) as answers:
            assert [answers.get(key) for key in KEYS] == REPLIES
