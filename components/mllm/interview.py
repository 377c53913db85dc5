"""All questions to one model: in parallel within a bound, each answer on disk before the next is asked."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta

from components.core.records.ranges import Seconds
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.journal import Journal
from components.mllm import message, question
from components.mllm.client import Endpoint, NoReply, Tokens
from components.mllm.message import Clip, Part
from components.mllm.params import EndpointParams, MllmParams, Modality
from components.mllm.probe import SAID, Verdict, probe, probe_clips
from components.mllm.sounding import Sounding

NO_REPLY = "no reply"
Record = dict[str, Any]
"""A line of answers.jsonl."""


@dataclass(frozen=True)
class Exam:
    """What every model is asked about."""

    clips: Sequence[Clip]
    truth: Mapping[str, Sounding]
    """Video name -> what sounds in it."""
    categories: Sequence[str]


@dataclass(frozen=True)
class Interview:
    """What one model answered."""

    records: Mapping[Modality, Mapping[str, Record]]
    """Modality -> video name -> its line of answers.jsonl."""
    answers: Mapping[Modality, Mapping[str, Sounding | None]]
    """The same, read; None is an answer that does not parse, or none at all."""
    verdict: Verdict | None
    """Of the probe; None when the model is given no sound."""


async def interview(endpoint: EndpointParams, params: MllmParams, exam: Exam, folder: Path) -> Interview:
    """Asks one model about all clips, in each of its modalities.

    Every answer is at once a synced line of `folder`/answers.jsonl, so that a killed run asks none again;
    questions without a reply are asked again by the next run.

    Raises:
        AvisError: the endpoint refuses us, or too large a share of the questions got no reply.
    """
    client = Endpoint(endpoint, timeout_s=params.timeout_s, retries=params.retries)
    journal = Journal(folder / "answers.jsonl", _fingerprint(endpoint, params, exam.categories))
    desk = _Desk(endpoint, params, exam, client, journal)
    try:
        verdict = await _probe(desk, folder)
        records = await _ask_all(desk)
    finally:
        await client.close()
        journal.close()
    _check_replies(endpoint.name, records, params.max_failure_share, folder)
    answers = {
        modality: {video: desk.read(record) for video, record in by_video.items()}
        for modality, by_video in records.items()
    }
    return Interview(records=records, answers=answers, verdict=verdict)


class _Answered(TypedDict):
    """A line of answers.jsonl with a reply: what is none is asked again."""

    status: Literal["ok", "invalid"]
    message: str
    purpose: str
    modality: str
    video: str
    text: str
    input_tokens: Tokens | None
    output_tokens: Tokens | None
    cost_usd: Annotated[float, Meta(ge=0, le=1e9)] | None
    latency_s: Seconds


def _is_answered(record: Record, asked: Record) -> bool:
    try:
        return dict(msgspec.convert(record, _Answered)).items() >= asked.items()
    except msgspec.ValidationError:
        return False


class _Desk:
    """Puts single questions, unless the journal knows the answer."""

    def __init__(
        self, endpoint: EndpointParams, params: MllmParams, exam: Exam, client: Endpoint, journal: Journal
    ) -> None:
        self.endpoint, self.params, self.exam = endpoint, params, exam
        self._client, self._journal = client, journal
        self._slots = asyncio.Semaphore(params.concurrency)

    async def ask(
        self, modality: Modality, clip: Clip, sound: bytes | None = None, purpose: str = "test"
    ) -> Record:
        """The record of one question; `sound` takes the place of the clip's own."""
        async with self._slots:
            frames, sound = _given(modality, clip, sound)
            digest = await asyncio.to_thread(_digest, frames, sound)
            key = f"{purpose}/{modality}/{clip.name}/{digest}"
            record: Record = {"purpose": purpose, "modality": modality, "video": clip.name}
            known = self._journal.finished.get(key)
            if known is not None and _is_answered(known, record):
                return known
            content = await asyncio.to_thread(self._content, modality, clip.length_s, frames, sound)
            try:
                reply = await self._client.ask(
                    [{"role": "system", "content": question.SYSTEM}, {"role": "user", "content": content}]
                )
            except NoReply as error:
                record |= {"status": NO_REPLY, "message": str(error)}
            else:
                counted = None not in (reply.input_tokens, reply.output_tokens)
                said = "" if counted else "the server's usage is no count of tokens"
                record |= {"status": "ok", "message": said, **asdict(reply)}
                try:
                    self._read_text(reply.text, modality, clip.name)
                except question.InvalidAnswer as error:
                    record |= {"status": "invalid", "message": str(error)}
            self._journal.record(key, record)
            return record

    def read(self, record: Record) -> Sounding | None:
        """A record's answer, None without a valid one."""
        if record["status"] == NO_REPLY:
            return None
        try:
            return self._read_text(record["text"], record["modality"], record["video"])
        except question.InvalidAnswer:
            return None

    def _read_text(self, text: str, modality: Modality, video: str) -> Sounding:
        length_s = self.exam.truth[video].length_s
        return question.read_answer(
            text, modality=modality, categories=self.exam.categories, length_s=length_s
        )

    def _content(
        self, modality: Modality, length_s: int, frames: Sequence[Path], sound: bytes | None
    ) -> list[Part]:
        width_px, quality = self.params.frame_width_px, self.params.jpeg_quality
        parts: list[Part] = [{"type": "text", "text": question.GIVEN[modality]}]
        if frames and self.endpoint.video == "video_url":
            parts.append(message.video_part(frames, width_px=width_px))
        else:
            parts += message.frame_parts(frames, width_px=width_px, jpeg_quality=quality)
        if sound is not None:
            parts.append(message.audio_part(sound))
        asked = question.ask_text(modality, self.exam.categories, length_s)
        return [*parts, {"type": "text", "text": asked}]


async def _ask_all(desk: _Desk) -> dict[Modality, dict[str, Record]]:
    from tqdm import tqdm

    records: dict[Modality, dict[str, Record]] = {modality: {} for modality in desk.endpoint.modalities}

    async def put(modality: Modality, clip: Clip) -> None:
        records[modality][clip.name] = await desk.ask(modality, clip)

    tasks = [
        asyncio.create_task(put(modality, clip))
        for modality in desk.endpoint.modalities
        for clip in desk.exam.clips
    ]
    try:
        label = f"mllm {desk.endpoint.name}"
        for task in tqdm(asyncio.as_completed(tasks), total=len(tasks), desc=label, unit="question"):
            await task
    finally:
        for left in tasks:
            left.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return records


async def _probe(desk: _Desk, folder: Path) -> Verdict | None:
    modality: Modality | None = next((m for m in desk.endpoint.modalities if m != "video"), None)
    if modality is None:
        return None
    clip, stranger = probe_clips(desk.exam.clips, desk.exam.truth)
    own = message.read_audio(clip)
    other = message.other_sound(message.read_audio(stranger) if stranger else None, like=own)

    async def ask(which: str) -> Sounding | None:
        sound = other if which == "other" else own
        return desk.read(await desk.ask(modality, clip, sound, purpose=f"probe {which}"))

    verdict = await probe(ask)
    print(f"mllm: {desk.endpoint.name} {SAID[verdict]}.", flush=True)
    found = {
        "verdict": verdict,
        "meaning": SAID[verdict],
        "clip": clip.name,
        "other_sound": stranger.name if stranger else "silence",
    }
    write_json(folder / "probe.json", found)
    return verdict


def _check_replies(
    name: str, records: Mapping[Modality, Mapping[str, Record]], max_failure_share: float, folder: Path
) -> None:
    lines = [record for by_video in records.values() for record in by_video.values()]
    lost = [record for record in lines if record["status"] == NO_REPLY]
    if len(lost) > max_failure_share * len(lines):
        raise AvisError(
            f"{len(lost)} of {len(lines)} questions to {name} got no reply, the first: {lost[0]['message']}",
            where=str(folder / "answers.jsonl"),
            fix="Run again to ask only these; see mllm.timeout_s, mllm.retries and mllm.concurrency.",
            passing=True,
        )


def _given(modality: Modality, clip: Clip, sound: bytes | None) -> tuple[Sequence[Path], bytes | None]:
    """The frames and the sound that a modality hands over."""
    frames = clip.frames if modality != "audio" else ()
    if modality == "video":
        return frames, None
    return frames, sound if sound is not None else message.read_audio(clip)


def _digest(frames: Sequence[Path], sound: bytes | None) -> str:
    """Names what was handed over: an answer to other pictures or another sound is no answer to these."""
    content = hashlib.sha256(sound or b"")
    for frame in frames:
        content.update(hashlib.sha256(message.read_frame(frame)).digest())
    return content.hexdigest()[:16]


def _fingerprint(endpoint: EndpointParams, params: MllmParams, categories: Sequence[str]) -> str:
    """Of all that makes an answer an answer to our question, besides the clip."""
    prices = {"usd_per_million_input_tokens", "usd_per_million_output_tokens"}
    asked = {
        "endpoint": endpoint.model_dump(mode="json", exclude={"api_key_env", "modalities", *prices}),
        "frames": [params.frame_width_px, params.jpeg_quality],
        "question": [question.SYSTEM, question.GIVEN, question.ask_text("audio_video", categories, 1)],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
