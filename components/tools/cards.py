"""`avis card`: what the data is and what a model is, in Markdown, from what the stages have tracked."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.clips.index import read_media_index
from components.core.raw.index import read_raw_index
from components.core.records.annotations import SPLITS, AnnotationSet, read_annotations
from components.core.records.masks import is_empty
from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.lineage import code_version, data_version
from components.core.run.params import PARAMS, read_variant_names, read_yaml
from components.core.run.paths import Paths
from components.core.tracking.reader import RunRecord, read_tracked_run

_FEW_TRACKS = 5
_METRICS = ("mAP", "AP50", "AP75", "HOTA", "DetA", "AssA", "FSLA", "FSLAn", "FSLAs", "FSLAm")


def write_data_card(out: Path, *, paths: Paths | None = None) -> None:
    """Write the data card: sources, licences, splits, counts, checks, limits.

    Raises:
        AvisError: if the stages up to annotate have not run, or a file of theirs is malformed.
    """
    paths = paths or Paths()
    splits = _splits(paths)
    text = [
        "# Data card",
        _dataset_line(),
        "## Clips by split",
        _clips(splits, paths),
        "## Where the videos are from",
        _sources(paths),
        "## Categories",
        _categories(splits),
        "## Checks",
        _checks(paths),
        "## Versions",
        _versions([paths.raw, paths.media, paths.annotations]),
        "## Limits",
        _bullets(_data_limits(splits, paths)),
    ]
    write_text(out, "\n\n".join(text) + "\n")


def write_model_card(variant: str, out: Path, *, paths: Paths | None = None) -> None:
    """Write the card of a trained model: data, code, settings, scores by protocol, limits.

    Raises:
        AvisError: if the variant is unknown or not trained, or a file of its stages is malformed.
    """
    paths = paths or Paths()
    known = read_variant_names()
    if variant not in known:
        raise AvisError(f"variant {variant!r} does not exist", fix=f"Allowed: {', '.join(known)}.")
    folder = paths.model(variant)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise AvisError(
            "there is no trained model", where=str(weights), fix=f"Run: dvc repro train@{variant}"
        )
    run = read_tracked_run(folder / "run.json")
    splits = _splits(paths)
    text = [
        f"# Model card: {variant}",
        "An audio-visual instance segmentation model: in a video with sound it finds the objects that sound, "
        "when they do, and their masks, one frame per second.",
        "## Scores on the test clips",
        _scores(paths.evaluation(variant) / "metrics.json", splits["test"]),
        "## Data",
        _clips(splits, paths) + "\n\n" + _versions([paths.annotations, paths.media]),
        "## Code and training",
        _training(run, folder, weights),
        "## Settings",
        _settings(folder / "config.json", run),
        "## Limits",
        _bullets(_model_limits(splits, paths)),
    ]
    write_text(out, "\n\n".join(text) + "\n")


def _splits(paths: Paths) -> dict[str, AnnotationSet]:
    return {split: read_annotations(paths.annotations / f"{split}.json") for split in SPLITS}


def _dataset_line() -> str:
    dataset = read_yaml(PARAMS).get("dataset", "not named")
    composed = " (composed from cut-outs, recorded sounds and photographs)" if dataset == "sample" else ""
    commit = code_version().get("mlflow.source.git.commit", "unknown")
    return f"Data set: **{_plain(dataset)}**{composed}. Code: commit `{commit[:12]}`."


def _clips(splits: Mapping[str, AnnotationSet], paths: Paths) -> str:
    media = read_media_index(paths.media / "index.parquet")
    rows = []
    for split, annotations in splits.items():
        entries = [media[video.name] for video in annotations.videos if video.name in media]
        sounding = _sources_per_frame(annotations)
        frames = sum(video.length for video in annotations.videos)
        seconds = sum(entry.duration_s or entry.frames / entry.frame_rate_hz for entry in entries)
        rows.append(
            [
                split,
                len(annotations.videos),
                f"{seconds / 60:.1f}",
                frames,
                len(annotations.tracks),
                sum(sounding.values()),
                frames - len(sounding),
                sum(number == 1 for number in sounding.values()),
                sum(number > 1 for number in sounding.values()),
            ]
        )
    header = ["split", "clips", "minutes", "frames", "tracks", "masks", "silent frames", "one source", "more"]
    return _table(header, rows)


def _sources_per_frame(annotations: AnnotationSet) -> Counter[tuple[int, int]]:
    """Number of masks of every (video, frame) that has any."""
    return Counter(
        (track.video_id, frame)
        for track in annotations.tracks
        for frame, segmentation in enumerate(track.segmentations)
        if not is_empty(segmentation)
    )


def _sources(paths: Paths) -> str:
    entries = read_raw_index(paths.raw / "index.parquet")
    licences = Counter(entry.license or "not stated" for entry in entries if entry.status == "ok")
    uploaders = Counter(entry.uploader or "not stated" for entry in entries if entry.status == "ok")
    statuses = Counter(str(entry.status) for entry in entries)
    parts = [
        _table(["licence", "videos"], licences.most_common()),
        _table(["uploader", "videos"], [*uploaders.most_common(20), *_rest(uploaders, 20)]),
        f"Of {len(entries)} entries in the manifest: "
        + ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        + ".",
    ]
    attribution = paths.kit / "ATTRIBUTION.md"
    if read_yaml(PARAMS).get("dataset") == "sample" and attribution.is_file():
        parts.append(f"Authors and licences of the kit's pictures and sounds: `{attribution.as_posix()}`.")
    return "\n\n".join(parts)


def _rest(counts: Counter[str], shown: int) -> list[tuple[str, int]]:
    others = counts.most_common()[shown:]
    return [(f"{len(others)} others", sum(count for _, count in others))] if others else []


def _tracks_by_category(annotations: AnnotationSet) -> Counter[str]:
    return Counter(annotations.categories[track.category_id] for track in annotations.tracks)


def _categories(splits: Mapping[str, AnnotationSet]) -> str:
    counts = {split: _tracks_by_category(annotations) for split, annotations in splits.items()}
    names = sorted(set().union(*counts.values()), key=lambda name: (-counts["train"][name], name))
    rows = [[name, *(counts[split][name] for split in splits)] for name in names]
    return _table(["category", *(f"tracks in {split}" for split in splits)], rows)


def _checks(paths: Paths) -> str:
    metrics = _json(paths.qa / "metrics.json")
    if metrics is None:
        return "Not checked yet (`dvc repro qa`)."
    rows = [
        [name.removeprefix("findings_"), _number(value)]
        for name, value in metrics.items()
        if name.startswith("findings_")
    ]
    return _table(["findings", "number"], rows) + f"\n\nReport: `{(paths.qa / 'report.html').as_posix()}`."


def _versions(folders: Iterable[Path]) -> str:
    rows = [[f"`{folder.as_posix()}`", f"`{data_version(folder).digest}`"] for folder in folders]
    return _table(["data", "DVC hash"], rows)


def _data_limits(splits: Mapping[str, AnnotationSet], paths: Paths) -> list[str]:
    limits = []
    if read_yaml(PARAMS).get("dataset") == "sample":
        limits.append(
            "The clips are composed: their motion, light and mixture of sounds are simpler than in real "
            "videos. They show that the pipeline works; they are no measure for real footage."
        )
        limits.append(
            "Test clips are new, but made of the backgrounds and recordings that training clips are made of; "
            "of the sprites only those of sample.held_out_sprites are kept for the test."
        )
    tracks = _tracks_by_category(splits["test"])
    few = sorted(name for name, number in tracks.items() if number < _FEW_TRACKS)
    if few:
        limits.append(
            f"Categories with fewer than {_FEW_TRACKS} test tracks, whose scores jump: {', '.join(few)}."
        )
    untested = sorted(set(_tracks_by_category(splits["train"])) - set(tracks))
    if untested:
        limits.append(f"Trained but not tested: {', '.join(untested)}.")
    unseen = sorted(set(tracks) - set(_tracks_by_category(splits["train"])))
    if unseen:
        limits.append(f"Tested but not in training: {', '.join(unseen)}.")
    entries = [entry for entry in read_raw_index(paths.raw / "index.parquet") if entry.status == "ok"]
    unstated = sum(entry.license is None for entry in entries)
    if unstated:
        limits.append(
            f"{unstated} of {len(entries)} videos state no licence: clarify it before passing them on."
        )
    limits.append("One frame per second is annotated: what happens between two frames is not measured.")
    return limits


def _model_limits(splits: Mapping[str, AnnotationSet], paths: Paths) -> list[str]:
    annotations = splits["train"]
    names = sorted(_tracks_by_category(annotations))
    return [
        f"It knows {len(names)} categories and no other: {', '.join(names)}.",
        f"Scores are from {len(splits['test'].videos)} test clips; compare them only with scores on the same "
        "clips and by the same protocol.",
        *_data_limits(splits, paths),
    ]


def _scores(path: Path, test: AnnotationSet) -> str:
    metrics = _json(path)
    if metrics is None:
        return f"Not evaluated yet (`dvc repro evaluate@{path.parent.name}`)."
    protocols = {name: values for name, values in metrics.items() if isinstance(values, dict)}
    shown = [name for name in _METRICS if any(name in values for values in protocols.values())]
    rows = [[name, *(_number(values.get(name)) for values in protocols.values())] for name in shown]
    header = ["percent", *(f"{name} protocol" for name in protocols)]
    explained = (
        f"{len(test.videos)} clips. *corrected* measures what the metrics' definitions say; *official* gives "
        "the numbers of the published evaluator, for comparison with published tables."
    )
    return f"{_table(header, rows)}\n\n{explained}"


def _training(run: RunRecord | None, folder: Path, weights: Path) -> str:
    rows: list[Sequence[object]] = []
    if run is not None:
        dirty = run.tags.get("git.dirty") == "true"
        commit = run.tags.get("mlflow.source.git.commit", "unknown")
        rows += [
            ["MLflow run", f"`{run.run_id}` ({run.status.lower()})"],
            [
                "code",
                f"commit `{commit}`" + (" with uncommitted changes (kept with the run)" if dirty else ""),
            ],
            ["dvc.lock at training", f"`{run.tags.get('dvc.lock.md5', 'unknown')}`"],
            *([f"data: {name}", f"`{digests[-1]}`"] for name, digests in run.datasets.items()),
        ]
    else:
        rows.append(["MLflow run", "not found: this MLflow does not know it, or is away"])
    size_mb = weights.stat().st_size / 1e6
    start = run.params.get("start_from") if run is not None else None
    if start not in (None, "None", "null"):
        rows.append(["started from", f"`{start}`"])
    taken = (_json(folder / "config.json") or {}).get("released")
    if taken:
        rows.append(["taken from, not trained here", f"`{taken}`"])
    rows.append(
        ["weights", f"`{weights.as_posix()}`, {size_mb:.1f} MB, md5 `{data_version(weights).digest}`"]
    )
    for name, value in (_json(folder / "metrics.json") or {}).items():
        if not isinstance(value, dict | list):
            rows.append([name, _number(value)])
    return _table(["", ""], rows)


def _settings(config: Path, run: RunRecord | None) -> str:
    values = run.params if run is not None and run.params else _json(config) or {}
    flat = {key: value for key, value in values.items() if not isinstance(value, dict | list)}
    table = _table(["setting", "value"], [[f"`{key}`", f"`{flat[key]}`"] for key in sorted(flat)])
    return f"<details><summary>{len(flat)} settings</summary>\n\n{table}\n\n</details>"


def _json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AvisError(f"not valid JSON: {error}", where=str(path)) from None
    if not isinstance(document, dict):
        raise AvisError("not a JSON object", where=str(path))
    return document


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.2f}"
    return "-" if value is None else _plain(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _plain(value: object) -> str:
    """Text from outside (licences, uploaders, names) must not become markup of the card."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
