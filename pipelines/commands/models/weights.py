"""`avis weights`: published weights under our names, as tensors only."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Take, left_out

PARTS = ("backbone.network.", "pixel_decoder.", "frame_decoder.", "video_module.", "audio_encoder.")


def weights(
    published: Annotated[
        Path,
        typer.Argument(
            help="A .pth, .ckpt, .pkl or .safetensors of AVISM, ACVIS, VITA, Mask2Former or a backbone; or a "
            "folder of shards."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
    take: Annotated[
        Take | None,
        typer.Option(
            help="Of averaged (EMA) and raw parameters these, if there are both; else the averaged."
        ),
    ] = None,
) -> None:
    """Convert published weights to start from."""
    from safetensors.torch import save_file

    from components.core.run.files import replace_file
    from models.checkpoints.parameter_names import our_entries
    from models.weight_files.checkpoint_file import read_weights

    try:
        read = read_weights(published, take.value if take else None)
        state = read.tensors
        renamed, outside = our_entries(state)
    except FileNotFoundError:
        raise AvisError("there is no such file", where=str(published)) from None
    except OSError as error:
        raise AvisError(f"cannot be read: {error.strerror}", where=str(published)) from None
    except ValueError as error:
        raise AvisError(
            str(error),
            where=str(published),
            fix="The program that made it can save a state dict: torch.save(model.state_dict(), …).",
        ) from None
    known = {name: value for name, value in renamed.items() if name.startswith(PARTS)}
    if not known:
        raise AvisError(
            "no parameter has a name that AVISM, ACVIS, VITA, Mask2Former or a backbone's file use",
            where=str(published),
            fix=f"Its entries are called {', '.join(list(state)[:3])}, …",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(out, ".safetensors") as temporary:
        tensors = {name: value.contiguous().clone() for name, value in known.items()}
        save_file(tensors, temporary, metadata={"categories": "[]"})
    print(f"{out}: {len(known)} of {len(state)} entries")
    for sentence in (*read.choices, *read.notes):
        print(sentence)
    if outside:
        print(f"left out, no part of the network: {left_out(outside)}")
    if unknown := [name for name in renamed if name not in known]:
        print(f"left out, of no known name: {', '.join(unknown)}")
