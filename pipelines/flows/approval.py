"""A promotion that waits for a person: in the registry, so that no process has to wait with it."""

import time

from components.core.run.errors import AvisError
from components.core.tracking.registry import CHAMPION, DECISION, REASON, WAITING, Registry, Version
from pipelines.flows.notifications import notify

_AGAINST, _UNTIL = "avis.waiting.against", "avis.waiting.until"


def wait_for_person(
    registry: Registry, version: Version, champion: Version | None, reason: str, limit_s: int
) -> None:
    """Note that a challenger that was found better than the champion waits, and how long."""
    until = _iso(time.time() + limit_s)
    registry.tag(version, {REASON: reason, _AGAINST: _named(champion), _UNTIL: until, DECISION: WAITING})


def state(version: Version, champion: Version | None) -> str:
    """What was decided about a version, or what has to be done for that, in words."""
    number, until = version.number, version.tags.get(_UNTIL)
    if not version.decision:
        if CHAMPION in version.aliases:
            return f"its promotion was cut off: avis champion promote {number} ends it"
        return (
            "not decided: its retraining goes on or was cut off; avis retrain, avis champion promote"
            f" {number} or avis champion refuse {number} decides"
        )
    if version.decision != WAITING:
        return version.decision
    if is_late(version):
        return f"nobody approved it by {until}: the next avis retrain refuses it"
    if not is_open(version, champion):
        against = version.tags.get(_AGAINST, "another champion")
        return f"waits, but was compared with {against}, not {_named(champion)}: avis retrain compares anew"
    return f"waits until {until}: avis champion approve {number}, or avis champion refuse {number}"


def is_late(version: Version) -> bool:
    """Whether a version has waited for longer than it was to."""
    until = version.tags.get(_UNTIL)
    return version.decision == WAITING and bool(until) and str(until) < _iso(time.time())


def is_open(version: Version, champion: Version | None) -> bool:
    """Whether a version waits and an answer counts: in time, and it was compared with the champion of now."""
    same = version.tags.get(_AGAINST) == _named(champion)
    return version.decision == WAITING and same and not is_late(version)


def refuse_late(registry: Registry) -> None:
    """Refuse the versions for which nobody answered in time."""
    for version in filter(is_late, registry.versions()):
        registry.refuse(version, f"nobody approved it by {version.tags[_UNTIL]}")


def settle(registry: Registry, number: int, *, approve: bool, by: str = "", why: str = "") -> str:
    """Answer for a version that waits; returns what came of it, of which people are told.

    Raises:
        AvisError: it does not wait, waits no longer, or was compared with another champion: it says which.
    """
    said = f"{'approved' if approve else 'refused'}{f' by {by}' if by else ''}{f': {why}' if why else ''}"
    with registry.alone():
        registry.finish()
        version, champion = registry.version(number), registry.with_alias(CHAMPION)
        undecided = version.decision in ("", WAITING) and CHAMPION not in version.aliases
        if not (is_open(version, champion) if approve else undecided):
            raise AvisError(
                f"version {number} does not wait for an answer: {state(version, champion)}",
                fix=f"avis champion promote {number} makes it the champion, whatever was measured.",
            )
        if approve:
            registry.promote(version, f"{version.tags.get(REASON, '')}; {said}".removeprefix("; "))
        else:
            registry.refuse(version, said)
    outcome = "the champion" if approve else "not promoted"
    message = f"Version {number} of {registry.model} is {outcome}: {said}"
    title = f"{registry.model} {number} is {outcome}"
    return "\n".join([message, *notify("promotion" if approve else "refusal", title, message)])


def _named(champion: Version | None) -> str:
    return f"version {champion.number}" if champion is not None else "no champion"


def _iso(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
