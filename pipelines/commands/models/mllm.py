"""`avis mllm`: a language model's questions as files, and its answers back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from components.mllm.interview import Exam
    from components.mllm.params import EndpointParams, MllmParams

mllm = typer.Typer(
    help="Ask a language model by files in the OpenAI batch format, without a live endpoint.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a model of params.yaml, mllm.models.")]


@mllm.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Becomes FILE-1.jsonl, FILE-2.jsonl, …")],
    megabytes: Annotated[int, typer.Option(min=1, help="The most that one file may have.")] = 190,
) -> None:
    """Write the questions that have no answer yet; nothing is asked."""
    from components.mllm import batch

    endpoint, params, exam, folder = _at_hand(name)
    written = batch.export(endpoint, params, exam, folder, out, most_bytes=megabytes * 10**6)
    for file in written:
        print(file)
    if not written:
        print(f"{name} has answered all questions: dvc repro mllm")


@mllm.command("import")
def import_(
    name: Name,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="What the server wrote.")],
) -> None:
    """Keep the answers that a server wrote; `dvc repro mllm` scores them."""
    from components.core.run.errors import AvisError
    from components.mllm import batch

    endpoint, params, exam, folder = _at_hand(name)
    failures = []
    for file in files:
        taken = batch.take(endpoint, params, exam, folder, file)
        print(
            f"{file}: {taken.new} new answers, {taken.known} known before, "
            f"{taken.strange} to other questions, {taken.failed} failed"
        )
        if taken.failed:
            failures.append(f"{file}, {taken.first_failure}")
    left = len(batch.unanswered(endpoint, params, exam, folder))
    print(f"{left} questions are unanswered" if left else "All questions are answered: dvc repro mllm")
    if failures:
        raise AvisError(
            f"answers failed, the first: {failures[0]}",
            fix=f"All others are kept. `avis mllm export {name} FILE` writes the questions that are left.",
        )


def _at_hand(name: str) -> "tuple[EndpointParams, MllmParams, Exam, Path]":
    from components.core.run.errors import AvisError
    from components.core.run.params import read_block
    from components.core.run.paths import Paths
    from components.core.storage.mirror import with_local_media
    from components.mllm.params import MllmParams
    from components.mllm.stage import exam_of, read_test

    params, paths = read_block("mllm", MllmParams), Paths()
    endpoint = next((model for model in params.models if model.name == name), None)
    if endpoint is None:
        names = ", ".join(model.name for model in params.models) or "none"
        raise AvisError(
            f"there is no model {name!r}", where="params.yaml, mllm.models", fix=f"Known: {names}."
        )
    annotations = read_test(paths)
    exam = exam_of(annotations, with_local_media(paths, [video.name for video in annotations.videos]))
    folder = paths.mllm / endpoint.name
    folder.mkdir(parents=True, exist_ok=True)
    return endpoint, params, exam, folder
