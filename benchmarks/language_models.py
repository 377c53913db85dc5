"""Time and memory of asking a language model about clips, against the bare `openai` client.

Run from the repository root: PYTHONPATH=. python benchmarks/language_models.py [--clips 40] [--answer-s 1.0]

A server on loopback, a process of its own, answers each question after a fixed time. The bare client makes
the same messages of the same clips, as many at once as `mllm.concurrency` says, and keeps nothing. Each way
runs in a process of its own.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
from measuring import alone, peak_mb

FRAMES, WIDTH_PX, HEIGHT_PX = 10, 640, 360
ANSWER = '{"who": [], "when": [], "where": []}'


def serve(pipe: Connection, answer_s: float) -> None:
    """Answers everything alike, and tells its port."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
    body = json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(answer_s)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


def make_clips(folder: Path, count: int) -> None:
    """Noise in pictures and sound."""
    random = np.random.default_rng(1)
    for clip in range(count):
        (folder / f"{clip}").mkdir()
        for frame in range(FRAMES):
            small = random.integers(0, 255, (HEIGHT_PX // 8, WIDTH_PX // 8, 3), np.uint8)
            cv2.imwrite(
                str(folder / f"{clip}" / f"{frame:05d}.jpg"), cv2.resize(small, (WIDTH_PX, HEIGHT_PX))
            )
        with wave.open(str(folder / f"{clip}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(random.integers(-3000, 3000, 16_000 * FRAMES, np.int16).tobytes())


def by_avis(folder: Path, url: str) -> None:
    """The stage's way: keys, database, budget, probes, reading."""
    from components.mllm.interview import Exam, interview
    from components.mllm.params import EndpointParams, MllmParams
    from components.mllm.requests.message import Clip
    from components.mllm.sounding import Sounding

    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    clips = [Clip(n, tuple(sorted((folder / n).iterdir())), folder / f"{n}.wav") for n in names]
    exam = Exam(clips, {name: Sounding(FRAMES, {}, {}, {}) for name in names}, ("dog", "violin"))
    endpoint = EndpointParams(name="m", model="m", base_url=url, modalities=("audio_video",))
    with tempfile.TemporaryDirectory() as kept:
        asyncio.run(interview(endpoint, MllmParams(), exam, Path(kept)))


def by_bare_client(folder: Path, url: str, questions: int) -> None:
    """openai's client in a loop; as many questions, the probes' own too."""
    import openai

    from components.mllm import question
    from components.mllm.requests.message import Clip, audio_part, frame_parts, read_audio

    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    clips = [Clip(n, tuple(sorted((folder / n).iterdir())), folder / f"{n}.wav") for n in names]

    async def ask_all() -> None:
        slots = asyncio.Semaphore(4)
        async with openai.AsyncOpenAI(api_key="no-key", base_url=url) as client:

            def content(clip: Clip) -> list:
                frames = frame_parts(clip.frames, width_px=512, jpeg_quality=85)
                words = question.ask_text("audio_video", ("dog", "violin"), FRAMES)
                return [*frames, audio_part(read_audio(clip)), {"type": "text", "text": words}]

            async def ask(clip: Clip) -> None:
                async with slots:
                    message = {"role": "user", "content": await asyncio.to_thread(content, clip)}
                    await client.chat.completions.create(model="m", messages=[message])

            await asyncio.gather(*(ask(clips[number % len(clips)]) for number in range(questions)))

    asyncio.run(ask_all())


def measured(way: str, folder: Path, url: str, questions: int) -> dict[str, float]:
    """Seconds and megabytes of one way, its imports left out of the time."""
    import openai  # noqa: F401

    import components.mllm.interview  # noqa: F401

    start = time.monotonic()
    if way == "avis":
        by_avis(folder, url)
    else:
        by_bare_client(folder, url, questions)
    return {"seconds": time.monotonic() - start, "peak_mb": peak_mb()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--answer-s", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there, options.answer_s), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    questions = options.clips + 2  # of the probes: once more, and another sound; all clips are silent
    with tempfile.TemporaryDirectory() as name:
        make_clips(Path(name), options.clips)
        print("| way | questions | s | questions/s | peak MB |\n|---|---:|---:|---:|---:|")
        for _ in range(options.rounds):
            for way in ("bare client", "avis"):
                found = alone(measured, way, Path(name), url, questions)
                rate = questions / found["seconds"]
                print(
                    f"| {way} | {questions} | {found['seconds']:.2f} | {rate:.2f} | {found['peak_mb']:.0f} |"
                )


if __name__ == "__main__":
    main()
