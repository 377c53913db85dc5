"""`avis weights`: published weights under our names, as tensors only."""

from pathlib import Path

from components.core.errors import AvisError
from components.core.files import replace_file


def convert_weights(published: Path, out: Path) -> None:
    """Write what of a published checkpoint has a place in an AVISM as safetensors for `start_from`.

    Args:
        published: a .pth of AVISM, VITA or Mask2Former: a state dict, or one under the key `model`.
        out: a .safetensors file.

    Raises:
        AvisError: the file holds anything but tensors, or nothing that is known.
    """
    import torch
    from safetensors.torch import save_file

    from models.published import our_name

    try:
        loaded = torch.load(published, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise AvisError("there is no such file", where=str(published)) from None
    except Exception as error:  # torch names the forbidden thing in an exception of several kinds
        raise AvisError(
            f"not a checkpoint of tensors only: {str(error).splitlines()[0]}",
            where=str(published),
            fix="A .pkl must first be saved as .pth by the program that made it.",
        ) from None
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else {}
    renamed = {
        ours: value.contiguous().clone()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and (ours := our_name(name)) is not None and ours != name
    }
    if not renamed:
        raise AvisError("no parameter has a name that AVISM, VITA or Mask2Former use", where=str(published))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(out, ".safetensors") as temporary:
        save_file(renamed, temporary, metadata={"categories": "[]"})
    print(f"{out}: {len(renamed)} of {len(state)} entries")
