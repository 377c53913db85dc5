"""Versions that wait for a person, on a real sqlite registry."""

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.tracking import turns
from components.core.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    COMMIT,
    DECISION,
    PREVIOUS,
    WEIGHTS_MD5,
    Registry,
)
from pipelines.flows.approval import refuse_late, settle, state, wait_for_person

pytestmark = pytest.mark.integration


class Cut(BaseException):
    """A kill between two calls of MLflow."""


@pytest.fixture
def open_registry(tmp_path: Path, new_store: Callable[[Path], str]) -> Callable[[], Registry]:
    uri = new_store(tmp_path)
    checkouts = itertools.count()
    return lambda: Registry(uri, tmp_path / f"t{next(checkouts)}", model="avis", experiment="runs")


def cut_off(real: Callable[..., None], calls: Iterator[int], at: int, *arguments: str) -> None:
    if next(calls) == at:
        raise Cut
    real(*arguments)


def register(registry: Registry, number: int) -> None:
    client = registry._store.client
    run = client.create_run(client.get_experiment_by_name("runs").experiment_id).info.run_id
    registry.register(run, tags={COMMIT: f"commit{number}", WEIGHTS_MD5: f"md5{number}"})


def aliases(registry: Registry) -> dict[int, list[str]]:
    return {version.number: version.aliases for version in registry.versions() if version.aliases}


def words(registry: Registry, number: int) -> str:
    return state(registry.version(number), registry.with_alias(CHAMPION))


def answers(open_registry, *pairs: tuple[int, bool]) -> list[str]:
    """What came of answers that are given at the same moment, each in a checkout of its own."""
    start = threading.Barrier(len(pairs))
    outcomes: list[str] = []

    def answer(number: int, approve: bool) -> None:
        mine = open_registry()
        start.wait()
        try:
            settle(mine, number, approve=approve)
            outcomes.append("done")
        except AvisError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=answer, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_a_yes_and_a_no_at_once_from_two_checkouts_one_counts(open_registry) -> None:
    registry = open_registry()
    for number in (1, 2, 3):
        register(registry, number)
        wait_for_person(registry, registry.version(number), registry.with_alias(CHAMPION), "better", 60)
        outcomes = answers(open_registry, (number, True), (number, False))
        version = registry.version(number)
        assert outcomes.count("done") == 1 and "does not wait for an answer" in "".join(outcomes)
        assert version.decision == ("promoted" if CHAMPION in version.aliases else "refused")
    assert [model.name for model in registry._store.client.search_registered_models()] == ["avis"]


def test_who_was_killed_in_his_turn_keeps_nobody_waiting_for_ever(open_registry, monkeypatch) -> None:
    registry = open_registry()
    register(registry, 1)
    client = registry._store.client
    client.create_registered_model("avis.turn-000007")
    monkeypatch.setattr(turns, "_LONGEST_S", 0.3)
    settle(registry, 1, approve=False)
    assert registry.version(1).decision == "refused"
    assert [model.name for model in client.search_registered_models()] == ["avis"]


def test_two_answers_at_once_are_taken_one_after_the_other(open_registry) -> None:
    registry = open_registry()
    for number in (1, 2):
        register(registry, number)
        wait_for_person(registry, registry.version(number), None, "better", 60)
    outcomes = answers(open_registry, (1, True), (2, True), (1, True))
    # One is the champion; the other was compared with none, and is not promoted over it unseen.
    assert outcomes.count("done") == 1 and "".join(outcomes).count("does not wait") == 2
    champion = registry.with_alias(CHAMPION)
    other = 3 - champion.number
    assert champion.decision == "promoted" and registry.version(other).decision == "waiting"
    assert f"was compared with no champion, not version {champion.number}" in words(registry, other)


def test_cut_off_after_any_call_of_a_promotion_the_next_command_ends_it(open_registry, monkeypatch) -> None:
    registry = open_registry()
    for number in (1, 2, 3):
        register(registry, number)
    registry.promote(registry.version(1), "the first")
    registry.promote(registry.version(2), "better")
    writes = ("set_model_version_tag", "set_registered_model_alias", "delete_registered_model_alias")
    client = registry._store.client
    for cut in range(1, 20):
        calls = iter(range(1, 20))
        with monkeypatch.context() as patch:
            for name in writes:
                real = getattr(client, name)
                patch.setattr(client, name, partial(cut_off, real, calls, cut))
            try:
                registry.promote(registry.version(3), "better still")
            except Cut:
                pass
            else:
                break
        champion = registry.with_alias(CHAMPION)
        assert champion is not None
        if champion.number == 3:
            assert "promotion was cut off: avis champion promote 3 ends it" in words(registry, 3)
            registry.finish()
        else:
            assert "not decided" in words(registry, 3)
            registry.promote(registry.version(3), "better still")
        assert aliases(registry) == {3: [CHAMPION], 2: [PREVIOUS]}, cut
        assert words(registry, 3) == "promoted"
        registry.promote(registry.version(2), "back", decision="rollback")
        client.delete_model_version_tag("avis", "3", DECISION)
        client.set_registered_model_alias("avis", PREVIOUS, "1")
        client.set_registered_model_alias("avis", CHALLENGER, "3")
    assert cut > 6  # so many calls there were


def test_who_does_not_answer_in_time_refuses(open_registry) -> None:
    registry = open_registry()
    register(registry, 1)
    assert "not decided" in words(registry, 1)
    wait_for_person(registry, registry.version(1), None, "better", -5)
    assert "nobody approved it by" in words(registry, 1)
    with pytest.raises(AvisError, match="nobody approved it by"):
        settle(registry, 1, approve=True)
    refuse_late(registry)
    assert words(registry, 1) == "refused" and registry.with_alias(CHAMPION) is None
    with pytest.raises(AvisError, match="does not wait for an answer: refused"):
        settle(registry, 1, approve=False)
