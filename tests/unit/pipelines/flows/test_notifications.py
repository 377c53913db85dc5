"""Real servers of this machine take the messages: a webhook over HTTP, e-mail over SMTP."""

import base64
import email
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from pipelines.flows import notifications
from pipelines.flows.notifications import notify, notify_failure


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no server that does not answer."""
    monkeypatch.setattr(notifications, "_LIMIT_S", 120.0)


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Webhook(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: int = 200) -> None:
        self.answer = answer
        self.taken: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Hook)


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.taken: list[Message] = []
        self.logins: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Smtp)


class Smtp(socketserver.StreamRequestHandler):
    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self.say("220 here")
        for line in self.rfile:
            command = line[:4].upper()
            if command == b"EHLO":
                self.say("250-here\r\n250 AUTH PLAIN")
            elif command == b"AUTH":
                self.server.logins.append(base64.b64decode(line.split()[2]))
                self.say("535 wrong password" if self.server.refuses else "235 welcome")
            elif command == b"DATA":
                self.say("354 go on")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.taken.append(email.message_from_bytes(text, policy=default))
                self.say("250 taken")
            elif command == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


def test_webhook_and_mail_get_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    webhook, mail = Webhook(), MailServer()
    with serving(webhook) as http, serving(mail) as smtp:
        monkeypatch.setenv(
            "AVIS_NOTIFY",
            f"json://127.0.0.1:{http}/hook\n mailto://robot:pass%20word@127.0.0.1:{smtp}"
            "?from=robot@example.org&to=team@example.org&mode=insecure",
        )
        assert notify("promotion", "avis 3\nis better", "mAP <b>rose</b>\nhttp://me:secret@host/x") == []
    (posted,) = webhook.taken
    assert posted["title"] == "AVIS promotion: avis 3 is better"
    assert posted["message"] == "mAP <b>rose</b>\nhttp://***@host/x" and posted["type"] == "success"
    (message,) = mail.taken
    assert message["To"] == "team@example.org" and message["Subject"] == "AVIS promotion: avis 3 is better"
    assert mail.logins == [b"\0robot\0pass word"]
    assert "<b>" not in message.get_body(("html",)).get_content()  # text from outside stays text


class Records(logging.Handler):
    """What reaches the log of the program; pytest's own handler listens at every logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO or record.name.startswith("apprise"):
            self.lines.append(record.getMessage())


def test_what_fails_is_said_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    log, records = logging.getLogger(), Records()
    monkeypatch.setattr(log, "handlers", [*log.handlers, records])
    monkeypatch.setattr(logging.getLogger("apprise"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("apprise"), "level", logging.DEBUG)
    with serving(Webhook(500)) as broken, serving(MailServer(refuses=True)) as smtp, Webhook() as closed:
        away = closed.server_address[1]
        closed.server_close()
        monkeypatch.setenv(
            "AVIS_NOTIFY",
            f"json://me:hush1@127.0.0.1:{broken}/hush2 json://127.0.0.1:{away}/hush3 slack://hush4/x/y"
            f" mailto://robot:hush5@127.0.0.1:{smtp}?to=a@example.org&mode=insecure hush6 json://h:hush7",
        )
        problems = notify("failure", "rebuild", "no space left")
    places = [line.split(": ")[0] for line in problems]
    assert places == [
        f"AVIS_NOTIFY, address 1 (json://127.0.0.1:{broken})",
        f"AVIS_NOTIFY, address 2 (json://127.0.0.1:{away})",
        "AVIS_NOTIFY, address 3 (slack)",
        f"AVIS_NOTIFY, address 4 (mailto://127.0.0.1:{smtp})",
        "AVIS_NOTIFY, address 5 (malformed)",
        "AVIS_NOTIFY, address 6 (json)",
    ]
    assert "500" in problems[0] and "onnection" in problems[1]
    assert "hush" not in "".join(problems) and "hush" not in "".join(records.lines)


def test_a_server_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_LIMIT_S", 0.5)
    webhook = Webhook()
    with socket.create_server(("127.0.0.1", 0)) as silent, serving(webhook) as http:
        port = silent.getsockname()[1]
        monkeypatch.setenv(
            "AVIS_NOTIFY",
            f"json://127.0.0.1:{port} mailto://127.0.0.1:{port}?to=a@example.org&from=b@example.org"
            f" json://127.0.0.1:{http}",
        )
        begin = time.monotonic()
        problems = notify("attrition", "40 videos are gone", "")
        took_s = time.monotonic() - begin
    assert took_s < 600 and len(problems) == 2 and all("has not answered" in line for line in problems)
    assert webhook.taken[0]["type"] == "warning"


def test_without_addresses_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVIS_NOTIFY", raising=False)
    assert notify("failure", "rebuild", "no space left") == []


def test_the_hook_tells_which_flow_run_failed_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_UI_URL, temporary_settings
    from prefect.states import Failed

    run = FlowRun(flow_id=uuid4(), name="brave-fox")
    webhook = Webhook()
    with serving(webhook) as http, temporary_settings({PREFECT_UI_URL: "http://here:4200"}):
        monkeypatch.setenv("AVIS_NOTIFY", f"json://127.0.0.1:{http}")
        notify_failure(flow(name="retrain")(lambda: None), run, Failed(message="no space left"))
    assert webhook.taken[0]["title"] == "AVIS failure: retrain (brave-fox): Failed"
    assert webhook.taken[0]["message"] == f"no space left\n\nhttp://here:4200/runs/flow-run/{run.id}"
