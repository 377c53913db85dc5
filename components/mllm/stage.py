"""The stage `mllm`: who sounds, when and where, asked of language models, read off the AVIS models' masks."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import fsum
from pathlib import Path
from statistics import fmean

from components.core.records.annotations import AnnotationSet, Track, read_annotations, tracks_by_video
from components.core.records.masks import Segmentation
from components.core.records.results import Result, read_results, write_results
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.core.tracking.run import continue_run, training_run
from components.mllm import sounding
from components.mllm.baselines import PREFIX as BASELINE
from components.mllm.baselines import baselines
from components.mllm.choices import Choice, choices_of, chosen, guesses
from components.mllm.interview import NO_REPLY, Exam, Interview, Record, interview
from components.mllm.pages import TRUTH, write_pages
from components.mllm.params import EndpointParams, MllmParams, Modality
from components.mllm.probe import METRICS
from components.mllm.requests.message import Clip
from components.mllm.scores import Scored, by_category, differences, intervals, score, scored
from components.mllm.segments import Segment, mask_scores, segmented
from components.mllm.sounding import Sounding

PREFIX = "mllm_protocol/"
NO_ENDPOINT = (
    "mllm: no language model is configured, so only the AVIS variants are scored. To ask one, add to "
    "mllm.models in params.yaml: {name: my-model, model: MODEL, base_url: http://HOST:PORT/v1, "
    "api_key_env: VARIABLE}."
)


def mllm(params: MllmParams, variants: Sequence[str], paths: Paths) -> dict[str, dict[str, float]]:
    """Scores every AVIS variant and every configured language model on the test clips.

    Writes data/mllm/<model>/answers.jsonl (kept: answers cost money), data/mllm/metrics.json: source name ->
    metric -> value; a language model is one source per modality, `<model>/<modality>`; and scores.json: each
    source's intervals over clips, its scores by category, and its differences to the first variant.
    report.html shows the scores and the clips, clips/<clip>.html all that was said of one, with its text.

    Raises:
        AvisError: an input is missing or malformed, or an endpoint cannot be asked.
    """
    annotations = read_test(paths)
    truth, choices = _heard(annotations, annotations.tracks), _choices(annotations)
    categories = sorted(annotations.categories.values())
    sources: dict[str, Scored] = {}
    rows: dict[str, list[Record]] = {video: [] for video in sorted(truth)}
    metrics: dict[str, dict[str, float]] = {}
    tracks = {TRUTH: _by_video(annotations.tracks)}
    for variant in variants:
        results = _predictions(paths.predictions(variant) / "results.json", annotations)
        tracks[variant] = _by_video(results)
        answers = _heard(annotations, results)
        said = {choice: chosen(choice, answers[choice.video]) for choice in choices}
        sources[variant] = scored(truth, [answers], categories, chosen=[said])
        for video, answer in answers.items():
            rows[video].append(_row(variant, answer, said))
        metrics[variant] = {**score(sources[variant]), "clips": len(truth)}
        with continue_run(paths.model(variant) / "run.json", paths=paths) as run:
            run.metrics({PREFIX + name: value for name, value in metrics[variant].items()})
    guessed = guesses(choices)
    for name, answers in baselines(truth, categories).items():
        sources[name] = scored(truth, [answers], categories, chosen=[guessed[name.removeprefix(BASELINE)]])
        metrics[name] = {**score(sources[name]), "clips": len(truth)}
    if params.models:  # who asks nobody needs no media
        paths = with_local_media(paths, [video.name for video in annotations.videos])
    exam = exam_of(annotations, paths)
    if not params.models:
        print(NO_ENDPOINT, flush=True)
    segment = None
    if params.models and params.segmenter is not None:
        from components.core.video.sam import SamTracker

        segment = SamTracker.load(params.segmenter).follow
    for endpoint in params.models:
        metrics |= _examine(endpoint, params, exam, sources, rows, segment, annotations, paths)
    write_json(paths.mllm / "metrics.json", metrics)
    reference = sources[variants[0]] if variants else None
    details = {
        name: {
            "clips": len(found.clips),
            "intervals": intervals(found),
            "categories": by_category(found, categories),
            "differences": differences(found, reference) if reference and found is not reference else {},
        }
        for name, found in sources.items()
    }
    write_json(paths.mllm / "scores.json", {"reference": next(iter(variants), None), "sources": details})
    write_pages(paths, annotations, truth, choices, rows, tracks, metrics, has_media=bool(params.models))
    return metrics


def read_test(paths: Paths) -> AnnotationSet:
    """The labels of the test clips.

    Raises:
        AvisError: there are none.
    """
    annotations = read_annotations(paths.annotations / "test.json", paths.root)
    if not annotations.videos:
        raise AvisError("there is no test clip", where=str(paths.annotations / "test.json"))
    return annotations


def exam_of(annotations: AnnotationSet, paths: Paths) -> Exam:
    """What every model is asked about."""
    return Exam(
        clips=[
            Clip(
                name=video.name,
                frames=tuple(paths.media / "frames" / name for name in video.file_names),
                audio=paths.media / "audio" / f"{video.name}.wav",
            )
            for video in sorted(annotations.videos, key=lambda video: video.name)
        ],
        truth=_heard(annotations, annotations.tracks),
        categories=sorted(annotations.categories.values()),
        choices=_choices(annotations),
    )


def _row(
    source: str,
    answer: Sounding | None,
    said: Mapping[Choice, str | None],
    record: Record | None = None,
    records: Mapping[Choice, Record] | None = None,
) -> Record:
    """Of a clip's table in the report; a source without records answered by its masks."""
    told = record or {}
    texts = {choice: record.get("text") for choice, record in (records or {}).items()}
    return {
        "source": source, "answer": answer, "status": told.get("status"),
        "message": told.get("message", ""), "text": told.get("text"), "said": said, "texts": texts,
    }  # fmt: skip


def _choices(annotations: AnnotationSet) -> list[Choice]:
    tracks = tracks_by_video(annotations)
    return [
        choice
        for video in sorted(annotations.videos, key=lambda video: video.name)
        for choice in choices_of(
            video.name,
            [
                (
                    annotations.categories[track.category_id],
                    sounding.boxes_of(track.segmentations, height_px=video.height, width_px=video.width),
                )
                for track in tracks[video.id]
            ],
        )
    ]


def _predictions(path: Path, annotations: AnnotationSet) -> list[Result]:
    """Every predicted track counts, as in the stage `evaluate`; `predict` has left out the weak ones."""
    videos = {video.id: video for video in annotations.videos}
    results = read_results(path)
    for row, result in enumerate(results):
        if result.video_id not in videos or result.category_id not in annotations.categories:
            raise AvisError(
                f"video {result.video_id}, category {result.category_id} is not in the test annotations",
                where=f"{path}, row {row}",
                fix="Predict again: these predictions belong to other annotations.",
            )
        if len(result.segmentations) != videos[result.video_id].length:
            raise AvisError(
                f"{len(result.segmentations)} masks for {videos[result.video_id].length} frames",
                where=f"{path}, row {row}",
                fix="Predict again: these predictions belong to other annotations.",
            )
    return results


def _by_video(objects: Sequence[Track | Result]) -> dict[int, list[tuple[int, Sequence[Segmentation]]]]:
    found: dict[int, list[tuple[int, Sequence[Segmentation]]]] = defaultdict(list)
    for one in objects:
        found[one.video_id].append((one.category_id, one.segmentations))
    return found


def _heard(annotations: AnnotationSet, tracks: Sequence[Track | Result]) -> dict[str, Sounding]:
    """By the name of each video."""
    of_video = defaultdict(list)
    for track in tracks:
        of_video[track.video_id].append((annotations.categories[track.category_id], track.segmentations))
    return {
        video.name: sounding.from_masks(
            of_video[video.id], length_s=video.length, height_px=video.height, width_px=video.width
        )
        for video in annotations.videos
    }


def _examine(
    endpoint: EndpointParams,
    params: MllmParams,
    exam: Exam,
    sources: dict[str, Scored],
    rows: Mapping[str, list[Record]],
    segment: Segment | None,
    annotations: AnnotationSet,
    paths: Paths,
) -> dict[str, dict[str, float]]:
    """One model's scores, also put into `sources`; in an MLflow run of its own that later runs continue."""
    folder = paths.mllm / endpoint.name
    folder.mkdir(parents=True, exist_ok=True)
    settings = endpoint.model_dump(mode="json")
    run_file = folder / "run.json"
    run_id = None
    with suppress(
        OSError, ValueError, TypeError, KeyError
    ):  # there is none, or it is damaged: another run begins
        known = json.loads(run_file.read_text())
        run_id = known["run_id"] if known["settings"] == settings else None
    with training_run(variant=endpoint.name, params={"mllm": settings}, run_id=run_id, paths=paths) as run:
        run.tags({"avis.kind": "language model", "mlflow.source.name": "components.mllm"})
        write_json(run_file, {"run_id": run.run_id, "settings": settings})
        try:
            result = asyncio.run(interview(endpoint, params, exam, folder))
        finally:
            run.artifact(folder / "answers.jsonl")
        found = _scored(endpoint.name, result, exam)
        sources |= found
        for given, wordings in result.records.items():
            for wording, records in enumerate(wordings):
                source = f"{endpoint.name}/{given}" + (
                    f", wording {wording + 1}" if len(wordings) > 1 else ""
                )
                for video, record in records.items():
                    rows[video].append(
                        _row(
                            source,
                            result.answers[given][wording][video],
                            result.chosen[given][wording],
                            record,
                            result.choice_records[given][wording],
                        )
                    )
        metrics = _metrics(endpoint.name, result, found)
        if segment is not None:
            for given, values in _masks(result, annotations, segment, folder, paths).items():
                metrics[f"{endpoint.name}/{given}"] |= values
        for source, values in metrics.items():
            modality = source.removeprefix(f"{endpoint.name}/")
            run.metrics({f"{PREFIX}{modality}/{name}": value for name, value in values.items()})
        total = result.outlay
        run.metrics({f"{PREFIX}requests": total.requests, f"{PREFIX}tokens": total.tokens})
        print(
            f"mllm: {endpoint.name} took {total.requests} requests and {total.tokens:,} tokens, "
            f"probes and all, {total.usd:.2f} USD at the prices that are set.",
            flush=True,
        )
    return metrics


def _masks(
    result: Interview, annotations: AnnotationSet, segment: Segment, folder: Path, paths: Paths
) -> dict[Modality, dict[str, float]]:
    """Scores of the masks that the first wording's boxes become; writes masks-<modality>.json."""
    found: dict[Modality, dict[str, float]] = {}
    for given in [modality for modality in result.answers if modality != "audio"]:
        results = segmented(result.answers[given][0], annotations, segment, paths)
        write_results(folder / f"masks-{given}.json", results)
        records = result.records[given][0]
        answered = [video for video, record in records.items() if record["status"] != NO_REPLY]
        found[given] = mask_scores(results, annotations, answered)
    return found


def _scored(name: str, result: Interview, exam: Exam) -> dict[str, Scored]:
    """By source. A clip without reply is no wrong answer: it is counted, and not scored."""
    found = {}
    for modality, wordings in result.answers.items():
        lost = {
            video
            for records in result.records[modality]
            for video, record in records.items()
            if record["status"] == NO_REPLY
        }
        truth = {video: true for video, true in exam.truth.items() if video not in lost}
        if truth:
            by_wording = result.chosen[modality]
            everywhere = [choice for choice in exam.choices if all(choice in said for said in by_wording)]
            found[f"{name}/{modality}"] = scored(
                truth,
                [{video: answered[video] for video in truth} for answered in wordings],
                exam.categories,
                boxes=modality != "audio",
                chosen=[{choice: said[choice] for choice in everywhere} for said in by_wording],
            )
    return found


def _metrics(name: str, result: Interview, found: Mapping[str, Scored]) -> dict[str, dict[str, float]]:
    senses = {
        METRICS[sense]: float(verdict == "yes")
        for sense, verdict in result.verdicts.items()
        if verdict in ("yes", "no")
    }
    metrics = {}
    for modality, wordings in result.records.items():
        source = f"{name}/{modality}"
        clips = [record for records in wordings for record in records.values()]
        choices = [record for records in result.choice_records[modality] for record in records.values()]
        scores = score(found[source]) if source in found else {}
        metrics[source] = {**scores, "clips": len(clips), **_outlay([*clips, *choices]), **senses}
    return metrics


def _outlay(records: Sequence[Record]) -> dict[str, float]:
    """How many answers there were, and what they took."""
    replies = [record for record in records if record["status"] != NO_REPLY]
    values: dict[str, float] = {
        "questions": len(records),
        "invalid": sum(record["status"] == "invalid" for record in records),
        "refused": sum(record["status"] == "refused" for record in records),
        "no_reply": len(records) - len(replies),
    }
    if replies:
        values["latency_s"] = fmean(record["latency_s"] for record in replies)
        for kind in ("input_tokens", "output_tokens"):
            if all(record[kind] is not None for record in replies):
                values[kind] = sum(record[kind] for record in replies)
    if replies and all(record["cost_usd"] is not None for record in replies):
        values["cost_usd"] = fsum(record["cost_usd"] for record in replies)
    return values
