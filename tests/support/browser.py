"""Chromium without a window, driven by its own protocol: for pages that need a file, a click, or a look."""

import base64
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.prefect_server import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_WORDS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
_SOUND = ("--autoplay-policy=no-user-gesture-required", "--mute-audio")


class Page:
    """One page of the browser."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call one of the protocol's methods."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=120))).get("id") != number:
            pass  # what happens meanwhile
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def run(self, script: str) -> Any:
        """Return what a script's last expression gives, a promise's value too."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", **wanted)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, within_s: float = 120) -> None:
        """Wait until a script gives something true."""
        wait_until(lambda: self.run(script), within_s, f"not so: {script}")

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into an input of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextmanager
def browser(folder: Path, address: str, size: str = "1100,900") -> Iterator[Page]:
    """Open a page; `folder` gets the browser's own files."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    command = [CHROMIUM, *_WORDS, *_SOUND, f"--user-data-dir={folder}", f"--window-size={size}", address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = folder / "DevToolsActivePort"
        wait_until(lambda: told.is_file() and "\n" in told.read_text(), 120, "no Chromium", process)
        port = told.read_text().splitlines()[0]

        def pages() -> list[dict[str, Any]]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as answer:
                return [one for one in json.load(answer) if one["type"] == "page"]

        wait_until(pages, 120, "no page", process)
        with connect(pages()[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket)
            page.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
            yield page
    finally:
        process.terminate()
        process.wait(60)
