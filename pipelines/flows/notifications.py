"""Messages to people about unattended runs: failures, videos that were lost, promotions.

AVIS_NOTIFY holds the addresses, separated by blanks, as apprise writes them: `json://host:port/path` posts to
a webhook, `mailto://user:password@host?from=…&to=…` sends an e-mail, and a hundred services more. An address
may hold passwords and tokens, so none is ever printed: a problem names its place in AVIS_NOTIFY and its kind.
"""

import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from components.core.text.redaction import redact

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow

ADDRESSES = "AVIS_NOTIFY"
Kind = Literal["failure", "attrition", "drop", "approval", "refusal", "promotion"]

_LIMIT_S = 8.0  # a flow waits no longer; a slow server may still take the message afterwards
_TITLE_CHARACTERS, _BODY_CHARACTERS = 200, 20_000
_TYPES = {  # apprise's words
    "failure": "failure",
    "attrition": "warning",
    "drop": "warning",
    "approval": "warning",  # somebody is asked
    "refusal": "info",
    "promotion": "success",
}
_SHORTEST_SECRET = 3  # characters
# Of these the host is no token.
_WITH_HOST = {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}


def notify(kind: Kind, title: str, body: str) -> list[str]:
    """Send a message to every address in the environment variable AVIS_NOTIFY; without any, do nothing.

    It waits for all of them together a few seconds at most.

    Returns:
        What went wrong, a sentence per address that did not take it; never raises.
    """
    addresses = os.environ.get(ADDRESSES, "").split()
    if not addresses:
        return []
    title = " ".join(redact(f"AVIS {kind}: {title}").split())[
        :_TITLE_CHARACTERS
    ]  # a line: it becomes a mail's subject
    body = redact(body.strip() or title)[:_BODY_CHARACTERS]  # apprise sends none that is empty
    outcomes: list[str | None] = [f"has not answered for {_LIMIT_S:.0f} s"] * len(addresses)

    def send(place: int) -> None:
        try:
            outcomes[place] = _send(addresses[place], _TYPES[kind], title, body)
        except Exception as error:  # of a library that meets any server: a message is not worth a flow
            outcomes[place] = type(error).__name__  # its text may hold the address

    _listen_to_apprise()
    deadline_s = time.monotonic() + _LIMIT_S
    threads = [threading.Thread(target=send, args=(place,), daemon=True) for place in range(len(addresses))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return [
        f"{ADDRESSES}, address {place + 1} ({_shown(address)}): {outcome}"
        for place, (address, outcome) in enumerate(zip(addresses, list(outcomes), strict=True))
        if outcome is not None
    ]


def notify_failure(flow: "Flow[Any, Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    """Say that a flow failed or crashed: for Prefect's on_failure and on_crashed."""
    from prefect.logging.loggers import flow_run_logger
    from prefect.utilities.urls import url_for

    lines = [state.message or f"The flow run ended as {state.name}."]
    address = url_for(flow_run)
    if address is not None:  # with a server that stays there is a page to look at
        lines.append(address)
    for problem in notify("failure", f"{flow.name} ({flow_run.name}): {state.name}", "\n\n".join(lines)):
        flow_run_logger(flow_run).warning("Nobody was told at %s", problem)


def _send(address: str, kind: str, title: str, body: str) -> str | None:
    """Send to one address; return what went wrong."""
    from apprise import Apprise, NotifyFormat, NotifyType

    service = Apprise()
    if not service.add(address):
        return "apprise knows no such address (its kinds: https://appriseit.com/services/)"
    _REASONS.lines = []
    done = service.notify(body=body, title=title, notify_type=NotifyType(kind), body_format=NotifyFormat.TEXT)
    if done:
        return None
    said = _REASONS.lines[-1] if _REASONS.lines else "the message was not taken"
    return _without_secrets(said, address)


class _Reasons(threading.local):
    """What apprise said in this thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []


_REASONS = _Reasons()


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _REASONS.lines.append(record.getMessage())


_KEEP = _Keep(logging.WARNING)


def _listen_to_apprise() -> None:
    """Keep apprise's words from every log, for good: below WARNING they hold whole addresses."""
    log = logging.getLogger("apprise")
    log.addHandler(_KEEP)  # once: a handler is not added twice
    log.setLevel(logging.WARNING)
    log.propagate = False


def _shown(address: str) -> str:
    """The kind of an address, with its host where that is no secret."""
    kind, _, _ = address.partition("://")
    if not re.fullmatch(r"[a-zA-Z][\w+.-]{0,20}", kind) or "://" not in address:
        return "malformed"
    if kind.lower() not in _WITH_HOST:
        return kind
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        return f"{kind}://{host}:{parts.port}" if parts.port else f"{kind}://{host}"
    except ValueError:  # a port that is no number
        return kind


def _without_secrets(text: str, address: str) -> str:
    """Leave out of a text all that the address holds, except what `_shown` shows."""
    shown = _shown(address)
    parts = {part for whole in (address, unquote(address)) for part in re.split(r"[/:@?&=#]+", whole)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET and part not in shown:
            text = text.replace(part, "…")
    return text
