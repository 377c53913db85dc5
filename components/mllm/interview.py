"""All questions to one model: in parallel within a bound, each answer on disk before the next is asked."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.files import write_json, write_text
from components.mllm import question, reading
from components.mllm.choices import Choice
from components.mllm.params import EndpointParams, MllmParams, Modality
from components.mllm.probe import ProbeClips, Sense, Verdict, judge, meaning, probe_clips
from components.mllm.requests import message
from components.mllm.requests.answers import Answers, Key, Reply, earlier_answers
from components.mllm.requests.budget import Outlay, Purse, cost_usd, estimate
from components.mllm.requests.client import REFUSED, Endpoint, NoReply
from components.mllm.requests.local import LocalModel, identity
from components.mllm.requests.message import Clip, Part
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
    choices: Sequence[Choice] = ()
    """About these clips."""


@dataclass(frozen=True)
class Interview:
    """What one model answered."""

    records: Mapping[Modality, Sequence[Mapping[str, Record]]]
    """Modality -> for each wording: video name -> its line of answers.jsonl."""
    answers: Mapping[Modality, Sequence[Mapping[str, Sounding | None]]]
    """The same, read; None is an answer that does not parse, or none at all."""
    choice_records: Mapping[Modality, Sequence[Mapping[Choice, Record]]]
    chosen: Mapping[Modality, Sequence[Mapping[Choice, str | None]]]
    """Likewise, of the questions with a few answers; those without a reply are left out."""
    verdicts: Mapping[Sense, Verdict]
    """Of the probes that its modalities allow."""
    outlay: Outlay
    """Of all answers, with those of the probes."""


@dataclass(frozen=True)
class Question:
    """One request."""

    purpose: str
    """test, or the probe that it belongs to."""
    modality: Modality
    clip: Clip
    """Whose length and name it has."""
    frames: tuple[Path, ...]
    sound: Callable[[], bytes] | None
    """Reads the WAV file that is handed over."""
    take: int
    """2 asks the very same once more."""
    wording: int
    video: str
    """The clip's name, "" where pictures or sound are not, or not as, its own."""
    choice: Choice | None
    """None asks who, when and where."""
    key: Key

    @property
    def record(self) -> Record:
        return {
            "purpose": self.purpose, "asked": self.choice.kind if self.choice else "sounding",
            "modality": self.modality,
            "video": self.clip.name, "wording": self.wording, "clip": self.key.clip,
        }  # fmt: skip


async def interview(endpoint: EndpointParams, params: MllmParams, exam: Exam, folder: Path) -> Interview:
    """Asks one model about all clips, in each of its modalities.

    Every answer is at once in `folder`/answers.sqlite, so that a killed run asks none again; questions
    without a reply are asked again by the next run. answers.jsonl shows them to people.

    Raises:
        AvisError: the endpoint refuses us or is dead, the budget is spent, or too large a share of the
            questions got no reply, or none that can be read. The stage is unfinished; all answers are kept.
    """
    with Answers(folder / "answers.sqlite") as known:
        desk = Desk(endpoint, params, exam, known)
        test, choices, probes = desk.questions()
        every = desk.distinct(test, choices, probes)
        shown = folder / "answers.jsonl"
        try:
            desk.open(every, earlier_answers(shown, _earlier_fingerprint(endpoint, params, exam.categories)))
            await desk.ask_all(every)
        finally:
            if desk.records:
                _keep_earlier(shown)
                write_text(shown, desk.lines(every))
    verdicts = _verdicts(desk, probes, folder)
    records: dict[Modality, list[dict[str, Record]]] = {
        modality: [{} for _ in range(params.wordings)] for modality in endpoint.modalities
    }
    for (modality, wording, video), asked in test.items():
        records[modality][wording - 1][video] = desk.records[asked.key]
    choice_records: dict[Modality, list[dict[Choice, Record]]] = {
        modality: [{} for _ in range(params.wordings)] for modality in endpoint.modalities
    }
    for (modality, wording, choice), asked in choices.items():
        choice_records[modality][wording - 1][choice] = desk.records[asked.key]
    lines = [desk.records[asked.key] for asked in (*test.values(), *choices.values())]
    _check_validity(endpoint.name, lines, params.max_invalid_share, folder)
    answers = {
        modality: [
            {video: desk.read(record) for video, record in by_video.items()} for by_video in by_wording
        ]
        for modality, by_wording in records.items()
    }
    chosen = {
        modality: [
            {c: desk.read_choice(record, c) for c, record in of.items() if record["status"] != NO_REPLY}
            for of in by_wording
        ]
        for modality, by_wording in choice_records.items()
    }
    return Interview(records, answers, choice_records, chosen, verdicts, desk.purse.spent)


Test = Mapping[tuple[Modality, int, str], Question]
"""By modality, wording and clip."""
ChoiceTest = Mapping[tuple[Modality, int, Choice], Question]
Probes = Mapping[Sense, Sequence[Question]]
"""For each sense: own, again, changed."""


class Desk:
    """Puts questions, unless their answers are known."""

    def __init__(self, endpoint: EndpointParams, params: MllmParams, exam: Exam, known: Answers) -> None:
        self.endpoint, self.params, self.exam = endpoint, params, exam
        self.purse = Purse(endpoint, params)
        self.records: dict[Key, Record] = {}
        self._known = known
        self._model = (
            f"{endpoint.base_url} {endpoint.model}" if endpoint.path is None else identity(endpoint.path)
        )
        self._clips = {clip.name: clip for clip in exam.clips}
        self._lost: list[Record] = []
        self._failure: AvisError | None = None
        self._total, self._most_lost = 0, 0.0

    def questions(self) -> tuple[Test, ChoiceTest, Probes]:
        """All: who, when and where; those with a few answers; the probes."""
        ways = [(m, w) for m in self.endpoint.modalities for w in range(1, self.params.wordings + 1)]
        test = {
            (modality, wording, clip.name): self.question("test", modality, clip, wording=wording)
            for modality, wording in ways
            for clip in self.exam.clips
        }
        choices = {
            (modality, wording, choice): self.question(
                "test", modality, self._clips[choice.video], wording=wording, choice=choice
            )
            for modality, wording in ways
            for choice in self.exam.choices
        }
        return test, choices, _probe_questions(self)

    @staticmethod
    def distinct(test: Test, choices: ChoiceTest, probes: Probes) -> list[Question]:
        """The same, each once: what a probe and the test both ask is asked once."""
        probed = [one for asked in probes.values() for one in asked]
        return list({one.key: one for one in [*probed, *test.values(), *choices.values()]}.values())

    def question(
        self,
        purpose: str,
        modality: Modality,
        clip: Clip,
        *,
        frames: tuple[Path, ...] | None = None,
        sound: Callable[[], bytes] | None = None,
        take: int = 1,
        wording: int = 1,
        choice: Choice | None = None,
    ) -> Question:
        """One about a clip; `frames` and `sound` replace its own, a second `take` asks once more."""
        own = frames is None and sound is None and modality != "other_sound"
        pictures = (frames or clip.frames) if modality != "audio" else ()
        if modality == "other_sound":
            sound = partial(_sound_of_another, self.exam, clip)
        heard = None if modality == "video" else sound or partial(message.read_audio, clip)
        prompt = [
            question.system_text(wording),
            question.GIVEN[modality],
            self._asked(modality, clip, wording, choice),
        ]
        sampling = self.endpoint.model_dump(
            mode="json", include={"temperature", "max_output_tokens", "response_format", "video"}
        )
        sampling |= {"frames": [self.params.frame_width_px, self.params.jpeg_quality], "take": take}
        key = Key(
            model=self._model,
            prompt=hashlib.sha256("\n".join(prompt).encode()).hexdigest(),
            clip=_digest(pictures, heard),
            modality=modality,
            sampling=json.dumps(sampling, sort_keys=True),
        )
        return Question(
            purpose, modality, clip, pictures, heard, take, wording, clip.name if own else "", choice, key
        )

    def open(self, questions: Sequence[Question], earlier: Mapping[tuple[str, str, int], Reply]) -> None:
        """Take what is known, and say what the rest will cost.

        Raises:
            AvisError: more than the budget.
        """
        for asked in questions:
            reply = self._known.get(asked.key)
            is_of_then = asked.wording == 1 and asked.choice is None
            if (
                reply is None
                and is_of_then
                and (reply := earlier.get((asked.modality, asked.key.clip[:16], asked.take)))
            ):
                self._known.put(asked.key, reply, asked.video)
            if reply is not None:
                self._take(asked, reply)
        self._total = len(questions)
        self._most_lost = self.params.max_failure_share * self._total
        left = [asked for asked in questions if asked.key not in self.records]
        self.purse.announce(map(self._estimate, left), known=len(self.records))

    async def ask_all(self, questions: Sequence[Question]) -> None:
        """One question first, as a trial; then the others, so many at once as the parameters allow.

        After a failure no other is begun, but those under way may end: they are paid for.
        """
        left = [asked for asked in questions if asked.key not in self.records]
        if left:
            async with aclosing(self._connect()) as client:
                await self._ask_in_turn(left, client)

    async def _ask_in_turn(self, left: Sequence[Question], client: Endpoint | LocalModel) -> None:
        from tqdm import tqdm

        slots = asyncio.Semaphore(self.params.concurrency)

        async def put(asked: Question) -> None:
            async with slots:
                if self._failure is None:
                    await self._ask(asked, client)

        with tqdm(total=len(left), desc=f"mllm {self.endpoint.name}", unit="question") as bar:
            for batch in (left[:1], left[1:]):
                tasks = [asyncio.create_task(put(asked)) for asked in batch]
                try:
                    for task in asyncio.as_completed(tasks):
                        await task
                        bar.update()
                        if self._failure is not None:
                            await asyncio.wait(tasks, timeout=self.params.timeout_s)
                            raise self._failure
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    def _connect(self) -> Endpoint | LocalModel:
        if self.endpoint.path is not None:
            return LocalModel(self.endpoint, self.endpoint.path, timeout_s=self.params.timeout_s)
        return Endpoint(self.endpoint, timeout_s=self.params.timeout_s, retries=self.params.retries)

    async def _ask(self, asked: Question, client: Endpoint | LocalModel) -> None:
        estimated = self._estimate(asked)
        try:
            self.purse.promise(estimated)
        except AvisError as error:
            self._failure = error
            return
        try:
            messages = await asyncio.to_thread(self.messages, asked)
            reply = await client.ask(messages, question.answer_schema(asked.choice))
        except NoReply as error:
            self.records[asked.key] = asked.record | {"status": NO_REPLY, "message": str(error)}
            self._lost.append(self.records[asked.key])
            if (
                len(self._lost) == len(self.records) or len(self._lost) > self._most_lost
            ):  # the trial, or many
                self._failure = self._dead(error.passing)
        except AvisError as error:
            self._failure = error
        else:
            self._known.put(asked.key, reply, asked.video)
            self._take(asked, reply)
        finally:
            self.purse.settle(estimated)

    def _take(self, asked: Question, reply: Reply) -> None:
        self.purse.pay(reply, self._estimate(asked))
        cost = cost_usd(self.endpoint, reply.input_tokens, reply.output_tokens)
        counted = None not in (reply.input_tokens, reply.output_tokens)
        said = "" if counted else "the server's usage is no count of tokens"
        record = asked.record | {"status": "ok", "message": said, **asdict(reply), "cost_usd": cost}
        if reply.finish_reason in (REFUSED, "content_filter"):
            record |= {"status": "refused", "message": "the server marks it as a refusal"}
        else:
            try:
                if asked.choice:
                    reading.read_choice(reply.text, asked.choice)
                else:
                    self._read_text(reply.text, asked.modality, asked.clip.name)
            except reading.InvalidAnswer as error:
                cut = " (it was cut off: see max_output_tokens)" if reply.finish_reason == "length" else ""
                record |= {"status": "invalid", "message": f"{error}{cut}"}
        self.records[asked.key] = record

    def _dead(self, passing: bool) -> AvisError:
        first = self._lost[0]
        return AvisError(
            f"{self.endpoint.name} is unfinished: {len(self._lost)} of {self._total} questions got no reply, "
            f"and no more were asked; the first, about {first['video']}: {first['message']}",
            where=f"params.yaml, mllm.models, {self.endpoint.name}",
            fix="Nothing is scored; all answers are kept. Run again to ask the others; see base_url, "
            "mllm.timeout_s, mllm.retries, mllm.concurrency and mllm.max_failure_share.",
            passing=passing,
        )

    def read(self, record: Record) -> Sounding | None:
        """A record's answer, None without a valid one."""
        if record["status"] != "ok":
            return None
        return self._read_text(record["text"], record["modality"], record["video"])

    def read_choice(self, record: Record, choice: Choice) -> str | None:
        """Likewise, the option that was named."""
        return reading.read_choice(record["text"], choice) if record["status"] == "ok" else None

    def lines(self, questions: Sequence[Question]) -> str:
        """What there is to these questions, one line of JSON each."""
        records = [self.records[asked.key] for asked in questions if asked.key in self.records]
        return "".join(json.dumps(record) + "\n" for record in records)

    def _read_text(self, text: str, modality: Modality, video: str) -> Sounding:
        length_s = self.exam.truth[video].length_s
        return reading.read_answer(
            text,
            modality=modality,
            categories=self.exam.categories,
            length_s=length_s,
            box_unit=self.endpoint.box_unit,
            size=partial(message.sent_size, self._clips[video].frames[0], self.params.frame_width_px),
        )

    def _asked(self, modality: Modality, clip: Clip, wording: int, choice: Choice | None) -> str:
        if choice is not None:
            return question.choice_text(choice, wording=wording)
        return question.ask_text(
            modality,
            self.exam.categories,
            clip.length_s,
            wording=wording,
            box_unit=self.endpoint.box_unit,
        )

    def _estimate(self, asked: Question) -> Outlay:
        return estimate(
            self.endpoint,
            frames=len(asked.frames),
            width_px=self.params.frame_width_px,
            audio_s=asked.clip.length_s if asked.sound else 0,
            letters=len(self._asked(asked.modality, asked.clip, asked.wording, asked.choice)),
        )

    def messages(self, asked: Question) -> list[Part]:
        """The chat of a question."""
        return [
            {"role": "system", "content": question.system_text(asked.wording)},
            {"role": "user", "content": self._content(asked)},
        ]

    def _content(self, asked: Question) -> list[Part]:
        width_px, quality = self.params.frame_width_px, self.params.jpeg_quality
        parts: list[Part] = [{"type": "text", "text": question.GIVEN[asked.modality]}]
        if asked.frames and self.endpoint.video == "video_url":
            parts.append(message.video_part(asked.frames, width_px=width_px))
        else:
            parts += message.frame_parts(asked.frames, width_px=width_px, jpeg_quality=quality)
        if asked.sound is not None:
            parts.append(message.audio_part(asked.sound()))
        words = self._asked(asked.modality, asked.clip, asked.wording, asked.choice)
        return [*parts, {"type": "text", "text": words}]


def _probe_questions(desk: Desk) -> dict[Sense, list[Question]]:
    """For each sense that the modalities allow to probe: own, again, changed."""
    modalities = desk.endpoint.modalities
    clips = probe_clips(desk.exam.clips, desk.exam.truth)

    def three(sense: Sense, modality: Modality, clip: Clip, **changed: Any) -> list[Question]:
        return [
            desk.question(f"probe of {sense}, own", modality, clip),
            desk.question(f"probe of {sense}, again", modality, clip, take=2),
            desk.question(f"probe of {sense}, changed", modality, clip, **changed),
        ]

    probes: dict[Sense, list[Question]] = {}
    hears = next((m for m in modalities if m in ("audio_video", "audio")), None)
    sees = next((m for m in ("audio_video", "video") if m in modalities), None)
    if hears is not None:
        probes["hearing"] = three("hearing", hears, clips.clip, sound=partial(_strange_sound, clips))
    if sees is not None and clips.stranger is not None:
        pictures = message.fitted(clips.stranger.frames, clips.clip.length_s)
        probes["seeing"] = three("seeing", sees, clips.clip, frames=pictures)
    if clips.uneven is not None and modalities[0] != "other_sound":
        uneven = clips.uneven
        probes["time"] = three(
            "time",
            modalities[0],
            uneven,
            frames=uneven.frames[::-1],
            sound=lambda: message.reversed_sound(message.read_audio(uneven)),
        )
    return probes


def _strange_sound(clips: ProbeClips) -> bytes:
    stranger = message.read_audio(clips.stranger) if clips.stranger else None
    return message.other_sound(stranger, like=message.read_audio(clips.clip))


def _verdicts(desk: Desk, probes: Probes, folder: Path) -> dict[Sense, Verdict]:
    """What the probes found, said and written to probe.json."""
    verdicts: dict[Sense, Verdict] = {}
    found = {}
    for sense, asked in probes.items():
        own, again, other = (desk.read(desk.records[one.key]) for one in asked)
        verdict = verdicts[sense] = judge(sense, own, again, other)
        print(f"mllm: {desk.endpoint.name} {meaning(sense, verdict)}.", flush=True)
        found[sense] = {
            "verdict": verdict, "meaning": meaning(sense, verdict),
            "clip": asked[0].clip.name, "modality": asked[0].modality,
        }  # fmt: skip
    write_json(folder / "probe.json", found)
    return verdicts


def _sound_of_another(exam: Exam, clip: Clip) -> bytes:
    """Of the next clip in which only other things sound, silence where there is none."""
    place = list(exam.clips).index(clip)
    others = (*exam.clips[place + 1 :], *exam.clips[:place])
    own = set(exam.truth[clip.name].counts)
    strange = (c for c in others if exam.truth[c.name].counts and own.isdisjoint(exam.truth[c.name].counts))
    stranger = next(strange, None)
    sound = message.read_audio(stranger) if stranger else None
    return message.other_sound(sound, like=message.read_audio(clip))


def _check_validity(name: str, records: Sequence[Record], max_invalid_share: float, folder: Path) -> None:
    lines = [record for record in records if record["status"] != NO_REPLY]
    unread = [record for record in lines if record["status"] != "ok"]
    if len(unread) > max_invalid_share * len(lines):
        raise AvisError(
            f"{len(unread)} of {len(lines)} answers of {name} cannot be read, the first, about "
            f"{unread[0]['video']}: {unread[0]['message']}",
            where=str(folder / "answers.jsonl"),
            fix="Look at their texts: is this the right model, does it take response_format json_schema? "
            "mllm.max_invalid_share is the limit; the answers are kept, and another response_format or "
            "max_output_tokens asks anew.",
        )


def _digest(frames: Sequence[Path], sound: Callable[[], bytes] | None) -> str:
    """Names what was handed over: an answer to other pictures or another sound is no answer to these."""
    content = hashlib.sha256(sound() if sound else b"")
    for frame in frames:
        content.update(hashlib.sha256(message.read_frame(frame)).digest())
    return content.hexdigest()


def _keep_earlier(path: Path) -> None:
    """An answers.jsonl from before there was a database stays, under another name: its answers were paid."""
    with suppress(OSError):
        with path.open("rb") as file:
            is_earlier = file.readline(100).startswith(b'{"fingerprint"')
        if is_earlier:
            kept = path.rename(path.with_name("answers.earlier.jsonl"))
            print(f"mllm: {kept} holds the answers of an earlier version; those to these questions are used.")


def _earlier_fingerprint(endpoint: EndpointParams, params: MllmParams, categories: Sequence[str]) -> str:
    """Of the questions, as answers.jsonl had it before there was a database."""
    given = {name: text for name, text in question.GIVEN.items() if name != "other_sound"}
    told = {"name", "model", "base_url", "video", "response_format", "temperature", "max_output_tokens"}
    asked = {
        "endpoint": endpoint.model_dump(mode="json", include=told),
        "frames": [params.frame_width_px, params.jpeg_quality],
        "question": [question.system_text(1), given, question.ask_text("audio_video", categories, 1)],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
