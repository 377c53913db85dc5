"""`avis predict`: what sounds in videos, said in the terminal and written as files."""

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Audio, Take, model_path, reading_of

if TYPE_CHECKING:
    from components.tools.prediction.one_video import Row

_LONGEST_LINE = 120  # of what is said of a video, in letters; beyond, an object a line, so many of them
_MOST_SAID = 10


def predict(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VIDEO...",
            help="Files, folders, 'globs', manifests (CSV, Parquet), addresses; - for standard input: a "
            "video, or a list of these.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="A folder in it for each video, and predictions.csv.")] = Path(
        "predictions"
    ),
    model: Annotated[
        str | None,
        typer.Option(
            help="A variant, a model's folder, models:/NAME@ALIAS of MLflow, or a released file of AVISM, "
            "ACVIS or TPAVI; else the first variant."
        ),
    ] = None,
    save: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND,...", help="film, results, csv, …: --list-outputs; else film and objects."
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score shown.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Objects of a video, at most.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=240, metavar="HZ", help="Computed frames a second; else as it was trained."
        ),
    ] = None,
    start: Annotated[float | None, typer.Option(min=0.0, metavar="S", help="Begin here.")] = None,
    end: Annotated[float | None, typer.Option(min=0.0, metavar="S", help="End here.")] = None,
    max_gb: Annotated[
        float, typer.Option(min=0.001, metavar="GB", help="Of an address: a larger download is given up.")
    ] = 4.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos side by side, each with the model; else 1, or Ray's.")
    ] = None,
    deaf_model: Annotated[
        str | None, typer.Option(help="Of videos without sound; else a trained variant that hears nothing.")
    ] = None,
    audio_weights: Annotated[
        Path | None, typer.Option(help="VGGish weights, for a model that hears features.")
    ] = None,
    take: Annotated[Take | None, typer.Option(help="Of a file's averaged (EMA) and raw parameters.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Of a file: attention heads.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Of a file: frames of a window.")] = None,
    clip_frames: Annotated[int | None, typer.Option(min=1, help="Of a file of TPAVI.")] = None,
    audio: Annotated[Audio | None, typer.Option(help="Of a file: what it hears.")] = None,
    categories: Annotated[str, typer.Option(help="Of a file: a file of names, or name,name,…")] = "",
    short_side: Annotated[int | None, typer.Option(min=1, metavar="PX", help="Of a file's frames.")] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Which seconds of sound and which pixels move a score; takes long."),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail where anything was guessed, filled in or left out on reading."),
    ] = False,
    list_outputs: Annotated[bool, typer.Option("--list-outputs", help="Show what --save takes.")] = False,
) -> None:
    """Find what sounds in videos, when and where."""
    from components.tools.prediction.saving import chosen_savers, savers

    if list_outputs:
        print(*(f"{name:9} {saver.description}" for name, saver in savers().items()), sep="\n")
        return
    if not videos:
        raise typer.BadParameter(
            "name a VIDEO: a file, a folder, a manifest, an address, or - for standard input"
        )
    # paths first: a wrong one is said before torch is loaded
    from components.core.run.process import imports_unwatched
    from components.tools.prediction.inputs import find_inputs

    kinds = tuple(saver.name for saver in chosen_savers(save or []))
    chosen = model_path(model)
    try:
        inputs = find_inputs(videos, start_s=start, end_s=end, scratch=out / ".stdin")
        if audio_weights is not None and not audio_weights.is_file():
            raise AvisError("there are no weights", where=str(audio_weights), fix="Correct --audio-weights.")

        with imports_unwatched():
            from components.core.inference.params import PredictParams
            from components.core.run.params import EngineParams, read_block
            from components.core.video.any_model import examine
            from components.extract.params import ExtractParams
            from components.ingest.params import IngestParams
            from components.tools.prediction.one_video import Wanted
            from components.tools.prediction.run import TABLE, predict_videos

        override = {"score_threshold": threshold, "most_tracks": most}
        params = read_block(
            "predict",
            PredictParams,
            override={name: value for name, value in override.items() if value is not None},
            optional=True,
        )
        extract = read_block("extract", ExtractParams, optional=True)
        weights = audio_weights or (Path(extract.audio_weights) if extract.audio_weights else None)
        reading = reading_of(take, heads, window, clip_frames, audio, categories, short_side)
        for sentence in examine(chosen, reading):  # here, so that one message says what is wrong with it
            print(sentence, file=sys.stderr)
        wanted = Wanted(
            model=chosen,
            params=params,
            save=kinds,
            reading=reading,
            deaf_model=model_path(deaf_model) if deaf_model else _deaf_variant(chosen),
            rate_hz=rate,
            audio_weights=weights,
            resampling=extract.resampling,
            explain=explain,
            strict=strict,
            threads=_threads(workers or 1) if len(inputs) > 1 else None,
        )
        engine = read_block("engine", EngineParams, optional=True)
        usual = (
            engine.workers if engine.kind == "ray" else 1
        )  # on one machine a second model costs its memory
        engine = EngineParams(kind=engine.kind, workers=workers or usual)
        ingest = read_block("ingest", IngestParams, override={"max_file_gb": max_gb}, optional=True)
        rows = []
        for row in predict_videos(inputs, wanted, out, engine, ingest):
            rows.append(row)
            _say(row, alone=len(inputs) == 1)
    finally:
        shutil.rmtree(out / ".stdin", ignore_errors=True)
    failed = [row for row in rows if row.status != "ok"]
    if len(inputs) == 1 and failed:
        raise AvisError(failed[0].cause)
    print(f"{len(rows) - len(failed)} of {len(rows)} videos: {out / TABLE}")
    if failed:
        raise SystemExit(1)


def _say(row: "Row", *, alone: bool) -> None:
    if row.status != "ok":
        if not alone:
            print(f"{row.video}: {row.status}: {row.cause}", file=sys.stderr)
        return
    heard = " (predicted without hearing it: the video has no sound)" if row.deaf else ""
    line = f"{row.video}{heard}: {row.sounds or 'nothing that sounds was found'}"
    if len(line) <= _LONGEST_LINE:
        print(line)
    else:
        sounds = row.sounds.split("; ")
        print(f"{row.video}{heard}: {row.objects} objects")
        print(
            *(f"  {textwrap.shorten(one, _LONGEST_LINE, placeholder=' …')}" for one in sounds[:_MOST_SAID]),
            sep="\n",
        )
        if len(sounds) > _MOST_SAID:
            print(f"  and {len(sounds) - _MOST_SAID} more")
    if not row.objects:
        more = "; --threshold sets another limit" if row.best_score >= 0.01 else ""
        print(f"  the best candidate scores {row.best_score:.2f}{more}")
    if row.changes:
        print(f"  changed on reading: {row.changes}")
    explained = Path(row.folder) / "explain.json"
    if explained.is_file():
        print(*(f"  {why['says']}" for why in json.loads(explained.read_text(encoding="utf-8"))), sep="\n")
    print(f"  {row.folder}/")


def _threads(workers: int) -> int:
    import os

    return max(1, len(os.sched_getaffinity(0)) // workers)


def _deaf_variant(chosen: Path) -> Path | None:
    """A trained variant of this repository that hears nothing."""
    from components.core.run.paths import Paths

    for config in sorted(Paths().model("x").parent.glob("*/config.json")):
        try:
            hears = json.loads(config.read_text(encoding="utf-8"))["config"]["audio"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if hears == "none" and config.parent != chosen:
            return config.parent
    return None
