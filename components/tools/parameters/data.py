"""Rules about the data: clips, videos, annotations and what qa compares them with."""

import difflib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from components.annotate.categories import read_category_map
from components.annotate.formats import formats
from components.annotate.params import AnnotateParams
from components.core.raw.manifest import read_manifest
from components.core.run.errors import AvisError
from components.core.run.params import Location
from components.extract.params import ExtractParams
from components.ingest.params import IngestParams
from components.qa.checks import Check, all_checks
from components.qa.params import QaParams
from components.qa.reference import read_reference
from components.qa.tables.agreements import read_agreements
from components.qa.tables.suspicions import read_suspicions
from components.qa.waivers import read_waivers
from components.sample.params import SampleParams
from components.tools.parameters.rules import MADE_BY_SAMPLE, Facts, rule
from components.train.params import TrainParams


@rule("dataset", "sample")
def composed_clips(facts: Facts, dataset: str, sample: SampleParams) -> Iterator[AvisError]:
    """The kit is there, and there are clips to learn from and to score."""
    kit = Path(sample.kit)
    yield from facts.missing_file(
        "sample", ("sample", "kit"), sample.kit, "Name a folder with sprites/, sounds/ and backgrounds/."
    )
    if dataset != "sample":
        return
    for name in ("train_clips", "test_clips"):
        if getattr(sample, name) == 0:
            yield facts.mistake(("sample", name), "there must be at least one clip", "Set it to 1 or more.")
    sprites = kit / "sprites"
    if not (facts.is_there(sprites) and facts.may_run("sample")):
        return
    for number, name in enumerate(sample.held_out_sprites):
        if not any((sprites / name).parent.glob(f"{Path(name).name}.*")):
            known = sorted(f"{file.parent.name}/{file.stem}" for file in sprites.glob("*/*"))
            yield facts.mistake(
                ("sample", "held_out_sprites", number), f"the kit has no sprite {name!r}", _hint(name, known)
            )


@rule("dataset", "ingest")
def manifest_to_download(facts: Facts, dataset: str, ingest: IngestParams) -> Iterator[AvisError]:
    """The manifest is there, or sample makes it."""
    yield from _input(facts, dataset, "ingest", ("ingest", "manifest"), ingest.manifest)
    fix = "Export it in Netscape format from a logged-in browser, or set it to null."
    yield from facts.missing_file("ingest", ("ingest", "cookies_file"), ingest.cookies_file, fix)


@rule("dataset", "annotate")
def annotations_to_import(facts: Facts, dataset: str, annotate: AnnotateParams) -> Iterator[AvisError]:
    """The source, its format, and the files that change it are there and can be read."""
    yield from _input(facts, dataset, "annotate", ("annotate", "source"), annotate.source)
    known = ["auto", *(name for name, one in formats().items() if one.read is not None)]
    if annotate.format not in known:
        place: Location = ("annotate", "format")
        yield facts.mistake(
            place, f"{annotate.format!r} is no format that can be read", _hint(annotate.format, known)
        )
    manifest = annotate.splits.manifest
    place = ("annotate", "splits", "manifest")
    if manifest:
        yield from _input(facts, dataset, "annotate", place, manifest)
    elif annotate.splits.by == "manifest":
        yield facts.mistake(
            place, "annotate.splits.by is manifest, but none is given", "Name the one of ingest."
        )
    where: Location = ("annotate", "category_map")
    yield from _content(facts, "annotate", where, annotate.category_map, read_category_map)
    fix = "Name a file or folder of sound labels, or set it to null."
    yield from facts.missing_file("annotate", ("annotate", "sound"), annotate.sound, fix)


@rule("extract", "variants", "ingest", "dataset")
def features_to_hear(
    facts: Facts, extract: ExtractParams, variants: dict[str, TrainParams], ingest: IngestParams, dataset: str
) -> Iterator[AvisError]:
    """Who hears with audio features gets some: from extract.audio_weights, or from the download."""
    fix = "Name a file of PyTorch VGGish weights (docs/audio.md), or set it to null."
    yield from facts.missing_file("extract", ("extract", "audio_weights"), extract.audio_weights, fix)
    if extract.replace_features and not extract.audio_weights:
        place = ("extract", "replace_features")
        yield facts.mistake(
            place, "extract.audio_weights is null, so nothing replaces them", "Set it to false."
        )
    if extract.audio_weights or (dataset != "sample" and _may_bring_features(facts, ingest.manifest)):
        return
    for name, variant in variants.items():
        if variant.model.audio == "features" and facts.may_run("train", name):
            yield facts.mistake(
                facts.of_variant(name, "model", "audio"),
                "there are no audio features: extract.audio_weights is null, and the videos bring none",
                "Set extract.audio_weights (docs/audio.md), or this to vggish or none.",
            )


def _may_bring_features(facts: Facts, manifest: str) -> bool:
    """Whether videos of a manifest are folders of frames with FEATAudios beside them, as AVISeg's are."""
    if not facts.is_there(manifest):
        return True  # said elsewhere
    try:
        entries = read_manifest(Path(manifest))
    except AvisError:
        return True  # ingest says it
    splits = {Path(entry.source).parent.parent for entry in entries if "://" not in entry.source}
    return any(facts.is_there(split / "FEATAudios") for split in splits)


@rule("qa")
def checks_of_qa(facts: Facts, qa: QaParams) -> Iterator[AvisError]:
    """Checks are called by their names, and the files that qa compares with can be read."""
    known = all_checks()
    named = {"thresholds": list(qa.thresholds), "severities": list(qa.severities), "skip": qa.skip}
    for field, names in named.items():
        for number, name in enumerate(names):
            place: Location = ("qa", field, number if field == "skip" else name)
            if name not in known:
                yield facts.mistake(place, f"there is no check {name!r}", _hint(name, known))
            elif field == "thresholds":
                yield from _threshold(facts, place, known[name], qa.thresholds[name])
    yield from _content(
        facts, "qa", ("qa", "waivers"), qa.waivers, lambda path: read_waivers(path, list(known))
    )
    yield from _content(facts, "qa", ("qa", "agreements"), qa.agreements, read_agreements)
    yield from _content(facts, "qa", ("qa", "suspicions"), qa.suspicions, read_suspicions)
    yield from _content(facts, "qa", ("qa", "reference"), qa.reference, read_reference)


def _threshold(facts: Facts, place: Location, check: type[Check], threshold: float) -> Iterator[AvisError]:
    if check.threshold is None:
        yield facts.mistake(
            place, "this check has no threshold", "Take it out, or name its check in qa.skip."
        )
    elif threshold < 0:
        yield facts.mistake(
            place, f"a threshold is not negative, as {threshold:g} is", "Set it to 0 or more."
        )


def _input(facts: Facts, dataset: str, stage: str, place: Location, path: str) -> Iterator[AvisError]:
    """A mistake if what a stage reads is neither there nor made by the stage sample."""
    if Path(path) not in MADE_BY_SAMPLE:
        yield from facts.missing_file(stage, place, path, "Correct the path, or put the file there.")
    elif dataset != "sample" and facts.may_run(stage):
        yield facts.mistake(
            place,
            f"the dataset is {dataset!r}, and {path} is what the stage sample makes of dataset: sample",
            "Name your own, or set dataset to sample.",
        )


def _content(
    facts: Facts, stage: str, place: Location, path: str | None, read: Callable[[Path], Any]
) -> Iterator[AvisError]:
    """A mistake if a file is missing or cannot be read as what it should be; small files only."""
    if not path or not facts.may_run(stage):
        return
    if not facts.is_there(path):
        yield facts.mistake(place, f"there is no {path}", "Correct the path, or set it to null.")
        return
    try:
        read(Path(path))
    except AvisError as error:
        yield facts.mistake(place, str(error).rstrip("."), "Correct the file, or set it to null.")
    except OSError as error:
        yield facts.mistake(place, f"{path} cannot be read: {error.strerror}", "Name a file.")


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{f'Did you mean {near[0]!r}? ' if near else ''}Known: {', '.join(known)}."
