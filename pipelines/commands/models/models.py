"""`avis models …`: what a file of weights is, and a trained model as ONNX."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Audio, Take, left_out, reading_of

models = typer.Typer(help="Files of weights: what they are; as ONNX.")


@models.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Of a training: an AVISM.")],
    target: Annotated[Path, typer.Argument(help="The .onnx file.")],
    height: Annotated[int, typer.Option(min=32, help="Of the frames, px.")] = 160,
    width: Annotated[int, typer.Option(min=32, help="Of the frames, px.")] = 288,
    frames: Annotated[int, typer.Option(min=1, help="That go in together.")] = 1,
) -> None:
    """Write the half of an AVISM that looks at frames as ONNX."""
    from components.core.video.onnx_export import export_frames

    export_frames(folder, target, height=height, width=width, frames=frames)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


@models.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A released file or folder, or the folder of a training.")],
    take: Annotated[Take | None, typer.Option(help="Of averaged (EMA) and raw parameters these.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads: not in the shapes.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Frames of a window: not in the shapes.")] = None,
    clip_frames: Annotated[int | None, typer.Option(min=1, help="Of a TPAVI: not in the shapes.")] = None,
    audio: Annotated[Audio | None, typer.Option(help="What it hears, where that is open.")] = None,
    categories: Annotated[str, typer.Option(help="Their names: a file, or name,name,…")] = "",
) -> None:
    """Show a model's network, size and categories; what of a file was recognised, is missing or left over."""
    from components.core.run.errors import AvisError
    from components.core.video.any_model import inspect_file
    from models.checkpoints.saved import CONFIG, WEIGHTS, load_model

    if (file / CONFIG).is_file():
        try:
            network, card = load_model(file)
        except (ValueError, OSError) as error:
            raise AvisError(f"the model cannot be loaded: {error}", where=str(file)) from None
        size = sum(value.numel() for value in network.state_dict().values())
        print(f"{file / WEIGHTS}: {card.name}, {network.config.backbone}, {size / 1e6:.1f} million numbers")
        print(f"categories ({len(card.categories)}): {', '.join(card.categories.values())}")
        print(f"sees frames of {card.short_side_px} px, {card.frame_rate_hz:g} a second")
        print(f"hears: {network.config.audio}")
        return
    seen = inspect_file(file, reading_of(take, heads, window, clip_frames, audio, categories))
    settings = seen.settings
    print(f"{file}: {seen.program}, {settings.get('backbone', 'a backbone that is not known')}")
    print(f"names: {seen.spelling}")
    print(f"size: {len(seen.tensors)} tensors, {seen.parameters / 1e6:.1f} million numbers")
    print(f"queries: {seen.queries}")
    named = ", ".join(seen.categories) if seen.categories else "nothing names them: --categories"
    told_by = f" ({seen.categories_from})" if seen.categories_from else ""
    print(f"categories: {settings.get('categories', 'unknown')}: {named}{told_by}")
    print(f"hears: {settings['audio']}")
    print("settings: " + ", ".join(f"{name} {value}" for name, value in sorted(settings.items())))
    for sentence in seen.assumed:
        print(f"assumed: {sentence}")
    for sentence in seen.notes:
        print(sentence)
    if seen.left:
        print(f"left out, no part of the network: {left_out(seen.left)}")
    print(
        f"fits not: {seen.different}"
        if seen.different
        else "all parameters of the network are there, and no others"
    )
    if seen.different:
        raise SystemExit(1)
