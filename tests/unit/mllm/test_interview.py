"""Interviews with a real HTTP server on loopback."""

import asyncio
import base64
import contextlib
import gzip
import io
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import av
import pytest

from components.core.run.errors import AvisError
from components.mllm.interview import Exam, Interview, interview
from components.mllm.params import EndpointParams, MllmParams
from components.mllm.scores import score, scored
from components.mllm.stage import _metrics, _outlay, _scored
from tests.support.chat_server import Request, Server, answer_text, completion, listening, slowly

pytestmark = pytest.mark.slow

PARAMS = MllmParams(concurrency=2, timeout_s=5.0, retries=2)
IMPATIENT = MllmParams(concurrency=4, timeout_s=1.0, retries=0)


def ask(endpoint: EndpointParams, exam: Exam, folder: Path, params: MllmParams = PARAMS) -> Interview:
    folder.mkdir(exist_ok=True)
    return asyncio.run(interview(endpoint, params, exam, folder))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_known_answers_give_known_scores(server, endpoint, exam, tmp_path):
    def reply(request: Request):
        index = request.heard if request.heard is not None else request.seen
        return completion(answer_text(0 if index == 3 else index))  # clip 3 is taken for clip 0

    server.reply = reply
    result = ask(endpoint, exam, tmp_path / "m")
    assert result.verdicts == {"hearing": "yes", "seeing": "no", "time": "no"}
    values = score(scored(exam.truth, result.answers["audio_video"], exam.categories))
    assert values["category_f1"] == pytest.approx(75.0)  # 3 right, 1 named and 1 missed: 6 / 8
    assert values["second_category_f1"] == pytest.approx(75.0)
    assert values["frame_accuracy"] == pytest.approx(100 * 10 / 12)  # second 2 is silent in every clip
    assert values["box_fsla"] == pytest.approx(100 * 10 / 12)
    assert values["count_accuracy"] == 100.0
    assert values["temporal_iou"] == pytest.approx(100 * 3 / 5)  # dog and violin of clip 3 are both 0
    assert all(answer.boxes is None for answer in result.answers["audio"][0].values())


def test_each_modality_sends_its_parts_and_nothing_else(server, endpoint, exam, tmp_path):
    ask(endpoint, exam, tmp_path / "m", MllmParams(frame_width_px=64))
    assert [len(server.asked(m)) for m in ("audio_video", "video", "audio")] == [
        4 + 4,
        4,
        4,
    ]  # the probes: once more, other sound, other pictures, backwards
    for request in server.asked("audio_video"):
        assert len(request.of("image_url")) == 3 and len(request.of("input_audio")) == 1
        assert not request.of("video_url")
        assert request.body["response_format"] == {"type": "json_object"}
        assert request.body["temperature"] == 0.0
    names = [part["text"] for part in server.asked("video")[0].of("text")]
    assert names[1:4] == ["frame 0", "frame 1", "frame 2"]
    frame = server.asked("video")[0].of("image_url")[0]["image_url"]["url"]
    with av.open(io.BytesIO(base64.b64decode(frame.split(",")[1]))) as picture:
        assert (picture.streams.video[0].width, picture.streams.video[0].height) == (64, 38)


def test_video_url_is_one_silent_mp4_of_the_frames(server, endpoint, exam, tmp_path):
    params = endpoint.model_copy(update={"video": "video_url", "modalities": ("audio_video",)})
    ask(params, exam, tmp_path / "m")
    request = server.requests[-1]
    assert not request.of("image_url") and len(request.of("input_audio")) == 1
    (part,) = request.of("video_url")
    data = base64.b64decode(part["video_url"]["url"].removeprefix("data:video/mp4;base64,"))
    with av.open(io.BytesIO(data)) as video:
        assert not video.streams.audio
        assert [frame.time for frame in video.decode(video=0)] == [0.0, 1.0, 2.0]


def test_answers_that_do_not_parse_are_counted_not_guessed(server, endpoint, exam, tmp_path):
    server.reply = lambda r: completion("It is a dog.") if r.seen == 2 else listening(r)
    result = ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m")
    assert result.verdicts == {"seeing": "yes", "time": "yes"}
    assert result.answers["video"][0]["clip2"] is None
    assert result.answers["video"][0]["clip1"] == exam.truth["clip1"]
    assert [line["video"] for line in lines(tmp_path / "m") if line["status"] == "invalid"] == ["clip2"]
    asked = len(server.requests)
    ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m")
    assert len(server.requests) == asked  # an invalid answer is an answer


def test_a_deaf_server_is_found_out(server, endpoint, exam, tmp_path, capsys):
    server.reply = lambda r: completion(
        answer_text(r.seen if r.seen is not None else 0, backwards=r.is_backwards)
    )
    found = ask(endpoint, exam, tmp_path / "m").verdicts
    assert found == {"hearing": "no", "seeing": "yes", "time": "yes"}
    assert "test-model is deaf: another sound under the same pictures" in capsys.readouterr().out
    probe = json.loads((tmp_path / "m" / "probe.json").read_text())["hearing"]
    assert (probe["verdict"], probe["clip"], probe["modality"]) == ("no", "clip0", "audio_video")


@pytest.mark.parametrize(
    ("model", "verdicts"),
    [
        (listening, {"hearing": "yes", "seeing": "yes", "time": "yes"}),
        (lambda r: completion(answer_text(r.heard or 0)), {"hearing": "yes", "seeing": "no", "time": "no"}),
        (
            lambda r: completion(answer_text(r.seen or 0, backwards=r.is_backwards)),
            {"hearing": "no", "seeing": "yes", "time": "yes"},
        ),
        (lambda r: completion("?"), dict.fromkeys(("hearing", "seeing", "time"), "unknown")),
    ],
    ids=["sound", "blind and timeless", "deaf", "mute"],
)
def test_probes_say_what_a_model_lacks(server, endpoint, exam, tmp_path, model, verdicts):
    server.reply = model
    one = endpoint.model_copy(update={"modalities": ("audio_video",)})
    assert ask(one, exam, tmp_path / "m", MllmParams(max_invalid_share=1.0)).verdicts == verdicts
    assert len(server.requests) == 4 + 4  # what the probes ask of a clip as it is, the test asks, too


def test_a_server_that_answers_at_random_does_not_pass_for_hearing(server, endpoint, exam, tmp_path):
    exam_of_one = Exam(clips=exam.clips[:1], truth={"clip0": exam.truth["clip0"]}, categories=exam.categories)
    replies = iter([0, 1, 3, 0])
    texts = {0: answer_text(0), 1: answer_text(1), 3: '{"who": [], "when": [], "where": []}'}
    server.reply = lambda r: completion(texts[next(replies)])
    alone = endpoint.model_copy(update={"modalities": ("audio",)})
    result = ask(alone, exam_of_one, tmp_path / "m", MllmParams(concurrency=1))
    assert result.verdicts == {"hearing": "unsteady", "time": "no"}
    assert [r.heard for r in server.requests[:3]] == [0, 0, -1]  # with one clip the other sound is silence


def test_busy_and_broken_servers_are_tried_again(server, endpoint, exam, tmp_path):
    failures = iter(
        [
            (429, {"retry-after-ms": "20"}, b'{"error": {"message": "slow down"}}'),
            (503, {"retry-after-ms": "20"}, b"not json"),
        ]
    )
    server.reply = lambda r: next(failures, None) or listening(r)
    params = endpoint.model_copy(update={"modalities": ("video",)})
    result = ask(params, exam, tmp_path / "m", MllmParams(concurrency=1))
    assert all(answer is not None for answer in result.answers["video"][0].values())
    assert max(line["retries"] for line in lines(tmp_path / "m")) == 2
    assert len(server.requests) == 4 + 2 + 2  # the probes' own: once more, and backwards


def test_a_hanging_request_is_given_up_and_asked_again_by_the_next_run(server, endpoint, exam, tmp_path):
    hang = slowly(1.5, listening)
    server.reply = lambda r: hang(r) if r.seen == 1 else listening(r)
    params = endpoint.model_copy(update={"modalities": ("video",)})
    quick = MllmParams(timeout_s=0.4, retries=0, max_failure_share=0.25)
    result = ask(params, exam, tmp_path / "m", quick)
    assert result.answers["video"][0]["clip1"] is None
    (lost,) = [line for line in lines(tmp_path / "m") if line["status"] == "no reply"]
    assert lost["video"] == "clip1" and "Timeout" in lost["message"]
    server.reply = listening
    server.requests.clear()
    again = ask(params, exam, tmp_path / "m", quick)
    assert [request.seen for request in server.requests] == [1]
    assert again.answers["video"][0]["clip1"] == exam.truth["clip1"]


@pytest.mark.parametrize(
    "body", [b"<html>gateway</html>", b'{"object": "chat.completion"}', b'{"choices": []}', b"3"]
)
def test_what_is_no_chat_ends_with_the_trial_question(server, endpoint, exam, tmp_path, body):
    server.reply = lambda r: (200, {}, body)
    with pytest.raises(AvisError, match="test-model is unfinished: 1 of 6 questions got no reply") as error:
        ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m")
    assert len(server.requests) == 1 and not error.value.passing
    assert f"no chat completion, but: {body.decode()}" in str(error.value)


def test_a_refused_key_ends_the_stage_at_once_and_is_not_told(server, endpoint, exam, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_MODEL_KEY", "sk-very-secret")
    server.reply = lambda r: (401, {}, json.dumps({"error": {"message": f"bad {r.key}"}}).encode())
    params = endpoint.model_copy(update={"api_key_env": "TEST_MODEL_KEY"})
    with pytest.raises(AvisError, match="refuses m") as error:
        ask(params, exam, tmp_path / "m")
    assert server.requests[0].key == "Bearer sk-very-secret"
    assert "sk-very-secret" not in str(error.value) and "TEST_MODEL_KEY" in str(error.value)
    assert len(server.requests) == 1
    assert not any(b"sk-very-secret" in path.read_bytes() for path in (tmp_path / "m").iterdir())


def test_a_missing_key_is_named(endpoint, exam, tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_MODEL_KEY", raising=False)
    with pytest.raises(AvisError, match="TEST_MODEL_KEY is not set"):
        ask(endpoint.model_copy(update={"api_key_env": "TEST_MODEL_KEY"}), exam, tmp_path / "m")


def test_no_more_requests_at_once_than_allowed(server, endpoint, exam, tmp_path):
    server.reply = slowly(0.05, listening)
    ask(endpoint, exam, tmp_path / "m", MllmParams(concurrency=3))
    assert server.most_at_once == 3


def test_changed_frames_or_settings_are_asked_anew(server, endpoint, exam, tmp_path):
    params = endpoint.model_copy(update={"modalities": ("video",)})
    ask(params, exam, tmp_path / "m")
    server.requests.clear()
    exam.clips[1].frames[2].write_bytes(exam.clips[2].frames[2].read_bytes())
    ask(params, exam, tmp_path / "m")
    assert len(server.requests) == 1
    ask(params.model_copy(update={"temperature": 0.5}), exam, tmp_path / "m")
    assert len(server.requests) == 1 + 6


def test_kill_and_resume_asks_nothing_twice(server: Server, endpoint, exam, tmp_path):
    """kill -9 in the middle: what was answered is on disk, and only the rest is asked."""
    folder = tmp_path / "m"
    folder.mkdir()
    server.reply = slowly(0.15, listening)
    params = MllmParams(concurrency=1)
    script = f"""
        import asyncio
        from pathlib import Path
        from tests.support.chat_server import CATEGORIES, true_sounding
        from components.mllm.interview import Exam, interview
        from components.mllm.requests.message import Clip
        from components.mllm.params import EndpointParams, MllmParams
        media = Path({str(tmp_path / "media")!r})
        names = [f"clip{{k}}" for k in range(4)]
        frames = {{n: tuple(sorted((media / "frames" / n).iterdir())) for n in names}}
        clips = [Clip(n, frames[n], media / "audio" / f"{{n}}.wav") for n in names]
        exam = Exam(clips, {{n: true_sounding(k) for k, n in enumerate(names)}}, CATEGORIES)
        endpoint = EndpointParams.model_validate_json({endpoint.model_dump_json()!r})
        asyncio.run(interview(endpoint, MllmParams(concurrency=1), exam, Path({str(folder)!r})))
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 600
        while answered(folder) < 6:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    while server.connections:  # the server finishes what it was asked last
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kept = answered(folder)
    server.requests.clear()
    result = ask(endpoint, exam, folder, params)
    assert len(server.requests) == 4 + 12 - kept
    assert all(result.answers[m][0] == exam.truth for m in ("audio_video", "video"))
    assert all(answer is not None for answer in result.answers["audio"][0].values())


def answered(folder: Path) -> int:
    """How many answers are kept."""
    try:
        with contextlib.closing(sqlite3.connect(folder / "answers.sqlite")) as database:
            return database.execute("SELECT count(*) FROM answers").fetchone()[0]
    except sqlite3.OperationalError:  # there is no table yet
        return 0


@pytest.mark.parametrize("usage", ["many", -1, 10**400, []])
def test_a_usage_that_is_no_count_costs_no_answer(server, endpoint, exam, tmp_path, usage):
    def reply(request: Request):
        status, headers, body = listening(request)
        counts = {"prompt_tokens": usage, "completion_tokens": 100, "total_tokens": 1}
        return status, headers, json.dumps({**json.loads(body), "usage": counts}).encode()

    server.reply = reply
    priced = endpoint.model_copy(
        update={
            "modalities": ("audio",),
            "usd_per_million_input_tokens": 1.0,
            "usd_per_million_output_tokens": 1.0,
        }
    )
    result = ask(priced, exam, tmp_path / "m")
    records = result.records["audio"][0].values()
    assert all(result.answers["audio"][0].values())
    assert {(r["status"], r["message"], r["input_tokens"], r["cost_usd"]) for r in records} == {
        ("ok", "the server's usage is no count of tokens", None, None)
    }
    values = _outlay(list(records))
    assert "input_tokens" not in values and values["output_tokens"] == 400
    ask(priced, exam, tmp_path / "m")  # and it is no reason to ask again
    assert len(server.requests) == 4 + 2  # another clip's sound is a question of the test


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_endless_answer_is_given_up(server, endpoint, exam, tmp_path, monkeypatch, coding):
    monkeypatch.setattr("components.mllm.requests.client._MOST_BYTES", 1 << 16)
    large = b" " * (1 << 20)
    server.reply = lambda request: (
        200, {"Content-Encoding": coding}, gzip.compress(large) if coding == "gzip" else large
    )  # fmt: skip
    with pytest.raises(AvisError, match="1 of 6 questions got no reply"):
        ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m", IMPATIENT)
    assert lines(tmp_path / "m")[0]["message"].endswith("the answer has more than 0 MiB")


def test_an_answer_that_drips_is_given_up(endpoint, exam, tmp_path):
    """Each byte comes in time, the answer never does: the limit is on the whole."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked: list[None] = []

        def drip(connection: socket.socket) -> None:
            asked.append(None)
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

        ended = threading.Event()
        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        slow = endpoint.model_copy(update={"modalities": ("video",), "base_url": url})
        with pytest.raises(AvisError, match=r"1 of 6 questions .* clip0: APITimeoutError"):
            ask(slow, exam, tmp_path / "m", MllmParams(concurrency=4, timeout_s=0.5, retries=1))
        ended.set()
        assert len(asked) == 2  # it is tried again
        listener.shutdown(socket.SHUT_RDWR)


def test_the_sound_of_another_clip(server, endpoint, exam, tmp_path):
    result = ask(endpoint.model_copy(update={"modalities": ("other_sound",)}), exam, tmp_path / "m")
    assert {request.seen: request.heard for request in server.requests} == {0: 1, 1: 2, 2: 3, 3: 0}
    assert result.answers["other_sound"][0]["clip0"].counts == {"violin": 1}  # it went by the sound
    assert not result.verdicts


def test_each_wording_is_asked_and_read_by_itself(server, endpoint, exam, tmp_path):
    server.reply = lambda r: (
        listening(r) if "Find the" not in r.body["messages"][0]["content"] else completion("?")
    )
    params = MllmParams(wordings=3)
    result = ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m", params)
    assert len(server.requests) == 3 * 4 + 2
    first, second, third = result.answers["video"]
    assert first == second == exam.truth and set(third.values()) == {None}
    values = _metrics("m", result, _scored("m", result, exam))["m/video"]
    assert values["category_f1"] == pytest.approx(200 / 3) and values["category_f1_spread"] == 100.0
    assert (values["clips"], values["invalid"]) == (12, 4)
    asked = len(server.requests)
    ask(endpoint.model_copy(update={"modalities": ("video",)}), exam, tmp_path / "m")
    assert len(server.requests) == asked  # the first wording alone is known


def test_pixels_are_read_as_they_were_sent(server, endpoint, exam, tmp_path):
    texts = {
        index: json.dumps({
            "who": [{"category": category, "count": 1}], "when": [{"category": category, "seconds": [0, 1]}],
            "where": [{"second": s, "category": category, "box": box} for s in (0, 1)],
        })
        for index, (category, box) in enumerate([("dog", [0, 0, 32, 38]), ("violin", [32, 0, 64, 38])] * 2)
    }  # fmt: skip
    server.reply = lambda r: completion(texts[r.seen])
    params = MllmParams(frame_width_px=64)  # 80x48 becomes 64x38
    pixels = endpoint.model_copy(update={"modalities": ("video",), "box_unit": "pixels"})
    result = ask(pixels, exam, tmp_path / "m", params)
    assert result.answers["video"][0] == exam.truth
    assert "pixels of the frames" in server.requests[0].of("text")[-1]["text"]
