"""A loopback server that speaks /v1/chat/completions and really looks and listens, and clips to show it."""

import base64
import io
import json
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.mllm.interview import Exam
from components.mllm.params import EndpointParams
from components.mllm.requests.message import Clip
from components.mllm.sounding import Sounding

CATEGORIES = ("dog", "violin")
# clip k: one object of category k % 2 in the left half (even k) or the right half (odd k), in seconds 0 and 1
LENGTH_S = 3


def true_sounding(index: int) -> Sounding:
    category = CATEGORIES[index % 2]
    box = (500.0, 0.0, 1000.0, 1000.0) if index % 2 else (0.0, 0.0, 500.0, 1000.0)
    return Sounding(
        length_s=LENGTH_S,
        counts={category: 1},
        seconds={category: frozenset({0, 1})},
        boxes=dict.fromkeys((0, 1), ((category, box),)),
    )


def answer_text(index: int, *, boxes: bool = True, backwards: bool = False) -> str:
    """The right answer to clip `index`, as a model would write it."""
    true = true_sounding(index)
    last = LENGTH_S - 1

    def heard_in(seconds: frozenset[int]) -> list[int]:
        return sorted(last - second if backwards else second for second in seconds)

    where = [
        {
            "second": last - second if backwards else second,
            "category": category,
            "box": [round(value) for value in box],
        }
        for second, named in (true.boxes or {}).items()
        for category, box in named
    ]
    return json.dumps(
        {
            "who": [{"category": name, "count": count} for name, count in true.counts.items()],
            "when": [{"category": name, "seconds": heard_in(s)} for name, s in true.seconds.items()],
            "where": where if boxes else [],
        }
    )


def make_media(folder: Path, count: int) -> list[Clip]:
    """Clips whose number, and the second, is written in their sound (value) and their frames (brightness)."""
    clips = []
    for index in range(count):
        name = f"clip{index}"
        (folder / "frames" / name).mkdir(parents=True)
        (folder / "audio").mkdir(exist_ok=True)
        frames = []
        for second in range(LENGTH_S):
            path = folder / "frames" / name / f"{second:05d}.jpg"
            assert cv2.imwrite(str(path), np.full((48, 80, 3), 20 * (index + 1) + 2 * second, np.uint8))
            frames.append(path)
        audio = folder / "audio" / f"{name}.wav"
        with wave.open(str(audio), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            samples = 100 * (index + 1) + 10 * np.arange(LENGTH_S, dtype="<i2").repeat(16000)
            file.writeframes(samples.tobytes())
        clips.append(Clip(name=name, frames=tuple(frames), audio=audio))
    return clips


@dataclass
class Request:
    body: dict[str, Any]
    key: str

    @property
    def parts(self) -> list[dict[str, Any]]:
        return self.body["messages"][-1]["content"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [part for part in self.parts if part["type"] == kind]

    @property
    def heard(self) -> int | None:
        """The number of the clip whose sound was sent; -1 is silence."""
        if not self.of("input_audio"):
            return None
        sound = self.of("input_audio")[0]["input_audio"]
        assert sound["format"] == "wav"
        with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
            assert (file.getframerate(), file.getnframes()) == (16000, 16000 * LENGTH_S)
            return int(np.frombuffer(file.readframes(1), "<i2")[0]) // 100 - 1

    @property
    def seen(self) -> int | None:
        """The number of the clip whose frames were sent."""
        return round(self._brightness(0) / 20) - 1 if self.of("image_url") else None

    @property
    def is_backwards(self) -> bool:
        """Whether the last second came first, in the sound if there is one."""
        if not self.of("input_audio"):
            return self._brightness(0) > self._brightness(-1)
        with wave.open(
            io.BytesIO(base64.b64decode(self.of("input_audio")[0]["input_audio"]["data"]))
        ) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return bool(samples[0] > samples[-1])

    def _brightness(self, frame: int) -> float:
        data = self.of("image_url")[frame]["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
        return float(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).mean())


Reply = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def completion(text: str) -> Reply:
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    return 200, {}, json.dumps(body).encode()


def listening(request: Request) -> Reply:
    """A model that goes by the sound if there is one, else by the frames; boxes are where it sees things."""
    index = request.heard if request.heard is not None else request.seen
    assert index is not None
    return completion(answer_as_heard(request, index))


def answer_as_heard(request: Request, index: int) -> str:
    """What sounds in clip `index`, as the request has it in time, boxed where its pictures show it."""
    text = answer_text(index, boxes=request.seen is not None, backwards=request.is_backwards)
    if request.seen in (None, index):
        return text
    answer = json.loads(text)
    box = json.loads(answer_text(request.seen))["where"][0]["box"]
    return json.dumps(answer | {"where": [named | {"box": box} for named in answer["where"]]})


@dataclass
class Server:
    url: str
    reply: Callable[[Request], Reply] = listening
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    connections: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return self.reply(request)
        finally:
            with self._lock:
                self._now -= 1

    def asked(self, modality: str) -> list[Request]:
        has = {"audio_video": (True, True), "video": (False, True), "audio": (True, False)}[modality]
        return [r for r in self.requests if (r.heard is not None, r.seen is not None) == has]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            with state._lock:
                state.connections += 1
            super().setup()

        def finish(self) -> None:
            try:
                super().finish()
            finally:
                with state._lock:
                    state.connections -= 1

        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, data = state.serve(Request(body, self.headers.get("Authorization", "")))
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client gave up waiting, as some tests want

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state = Server(url=f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join(5)


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    clips = make_media(tmp_path / "media", 4)
    return Exam(
        clips=clips,
        truth={clip.name: true_sounding(index) for index, clip in enumerate(clips)},
        categories=CATEGORIES,
    )


@pytest.fixture
def endpoint(server: Server) -> EndpointParams:
    return EndpointParams(name="test-model", model="m", base_url=server.url)


def slowly(seconds: float, reply: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    def wait(request: Request) -> Reply:
        time.sleep(seconds)
        return reply(request)

    return wait
