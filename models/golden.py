"""Does our network compute what the published one does? ``python -m models.golden DIR``

A folder holds what the published network made of weights and inputs that anyone can make again (below):

* avism, h2s: ``state_dict_shapes.json`` (published names and shapes), ``info.json``, ``expected.npz``;
* tpavi: ``info.json`` with the shapes inside, ``expected.npz``;
* logmel: ``input.wav``, ``expected.npz``.
"""

import argparse
import json
import sys
import wave
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # torch takes seconds to import: --help shall not
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from models.networks.avism.avism import Avism
    from models.networks.h2s.h2s import H2s

BACKBONES = {"avism_r50": "resnet50", "avism_swin_l": "swin_large"}
KINDS = (*BACKBONES, "h2s", "tpavi", "logmel")
TOLERANCES = {"avism": 1e-3, "h2s": 1e-4, "tpavi": 1e-4, "logmel": 1e-3}
SHAPES, INFO, EXPECTED, SOUND = "state_dict_shapes.json", "info.json", "expected.npz", "input.wav"
INFERENCE = (
    "scores",
    "labels",
    "mask_area",
    "scores_all",
    "labels_all",
    "area_all",
)  # what the published inference kept of these outputs: not compared
INDEX = ".relative_position_index"  # integers that Swin computes; listed among its entries all the same


def _by_query(frames: "Tensor") -> "Tensor":
    return frames.transpose(0, 1)  # [F, Q, C] -> [Q, F, C]


def _first(clips: "Tensor") -> "Tensor":
    return clips[0]


_FUSION, _SCANS = "frame_decoder.audio_fusion", "video_module.scans"
# what is looked at inside an H2S: the part, how its output (or, with True, what it gets) lies in the folder
H2S_PARTS: "dict[str, tuple[str, Callable[[Any], Tensor]] | tuple[str, Callable[[Any], Tensor], bool]]" = {
    **{f"bi_attn_{scale}": (f"pixel_decoder.audio_into_pixels.{scale}", lambda x: x) for scale in range(3)},
    "decomposed_frame": (f"{_FUSION}.decompose", _by_query),
    **{f"asp_{scale}": (f"{_FUSION}.look.{scale}", _by_query) for scale in range(3)},
    "asp_out": (f"{_FUSION}.after", _by_query),
    "decomposed_video": ("video_module.decompose", _by_query),
    "adm_in": (f"{_SCANS}.0", _first, True),
    "gate_0": (f"{_SCANS}.0.scan.audio_gate", lambda made: made[1][0]),
    "scan_0": (f"{_SCANS}.0.scan.out_norm", _first, True),
    "mamba_0": (f"{_SCANS}.0.scan", _first),
    "adm_0": (f"{_SCANS}.0", _first),
    "adm_5": (f"{_SCANS}.5", _first),
}


@dataclass(frozen=True)
class Row:
    """One comparison: of an output, or of its mean, standard deviation and largest magnitude."""

    name: str
    difference: float  # the largest
    magnitude: float  # largest expected


def golden_weight(name: str, shape: tuple[int, ...]) -> "NDArray[Any]":
    """The weight that stands for parameter ``name`` (as published) in every golden folder."""
    import numpy as np

    random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    n = np.asarray(random.standard_normal(shape), np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(n)
    if name.endswith("running_mean"):
        return 0.1 * n
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith(("x_proj_weight", "dt_projs_weight")):  # from here on of H2S's scans
        return n / np.float32(np.sqrt(shape[-1]))
    if name.endswith("dt_projs_bias"):
        return np.float32(-3) + np.float32(0.5) * n
    if name.endswith("A_logs"):
        return np.log(np.arange(1, shape[-1] + 1, dtype=np.float32)) + np.float32(0.1) * n
    if name.endswith(".Ds"):
        return 1 + 0.05 * n
    if len(shape) <= 1:
        return 1 + 0.05 * n if name.endswith("weight") else 0.05 * n
    return n / np.float32(np.sqrt(np.prod(shape[1:])))


def golden_clip(
    info: Mapping[str, int], sources: tuple[int, ...] = ()
) -> "tuple[NDArray[np.uint8], NDArray[np.float32]]":
    """Frames [T, 3, H, W], RGB 0-255, and audio [T, 128] of an avism folder; of h2s [T, sources, 128]."""
    import numpy as np

    random = np.random.RandomState(info["seed"])
    frames = random.randint(0, 256, (info["T"], 3, info["H"], info["W"])).astype(np.uint8)
    return frames, random.standard_normal((info["T"], *sources, 128)).astype(np.float32)


def avism_outputs(
    model: "Avism", frames: "NDArray[np.uint8]", audio: "NDArray[np.float32]"
) -> "dict[str, NDArray[Any]]":
    """What our model makes of a clip, whole, under the names of the golden folders."""
    import torch

    maps: list[torch.Tensor] = []
    hook = model.backbone.register_forward_hook(lambda _module, _input, result: maps.extend(result))
    with torch.no_grad():
        output = model(torch.from_numpy(frames)[None], torch.from_numpy(audio)[None])
    hook.remove()
    frame, video = output.frame, output.video
    masks = torch.einsum("fqc,fchw->fqhw", frame.mask_embeds[-1], output.frame_mask_features)
    values = {
        "frame_logits": frame.logits[-1],  # [T, Q, K + 1]
        "frame_queries": frame.queries[-1],  # [T, Q, C]
        "frame_masks": masks,  # [T, Q, H/4, W/4]
        "frame_masks_f0": masks[0],
        "mask_features": output.video_mask_features[0],  # [T, C, H/4, W/4]
        "mask_features_f0": output.video_mask_features[0, 0],
        "video_logits": video.logits[-1][0],  # [V, K + 1]
        "video_mask_embed": video.mask_embeds[-1][0],  # [V, C]
        **{f"res{stage}": x for stage, x in enumerate(maps, start=2)},
    }
    if frame.counting is not None:
        values["count_logits"] = frame.counting  # [T, 2], of ACVIS
    return {name: value.numpy() for name, value in values.items()}


def compare_avism(folder: Path, backbone: str | None = None) -> list[Row]:
    """Our AVISM of the architecture that the shapes show, on regenerated weights and clip."""
    from models.checkpoints.published import load_published

    shapes = {name: tuple(shape) for name, shape in _json(folder / SHAPES).items()}
    info = _json(folder / INFO)
    model = load_published({name: golden_weight(name, shape) for name, shape in shapes.items()})
    if backbone is not None and model.config.backbone != backbone:
        raise ValueError(f"{folder} is of a model with {model.config.backbone}, not {backbone}")
    rows = _compared_avism(model, info, _arrays(folder))
    if any(name.endswith(INDEX) for name in shapes) and not _worst(rows) <= TOLERANCES["avism"]:
        # By the letter, the recipe makes fractions of this table of integers, and a network that loads them
        # keeps zeros. The maker of a folder may have done so.
        for name, table in model.named_buffers():
            if name.endswith(INDEX):
                table.zero_()
        by_letter = _compared_avism(model, info, _arrays(folder))
        if _worst(by_letter) <= TOLERANCES["avism"]:
            print(f"note: {INDEX[1:]} is zero in this folder, as the recipe has it by the letter")
            return by_letter
    return rows


def _compared_avism(
    model: "Avism", info: Mapping[str, Any], expected: "Mapping[str, NDArray[Any]]"
) -> list[Row]:
    outputs = avism_outputs(model, *golden_clip(info["input"]))
    return [*_compared(outputs, expected), *_compared_statistics(outputs, info.get("stats", {}))]


def _worst(rows: list[Row]) -> float:
    return max((row.difference for row in rows), default=0.0)


def compare_h2s(folder: Path) -> list[Row]:
    """Our H2S on regenerated weights and clip, with what the published k-means began with."""
    from models.checkpoints.published import load_published
    from models.networks.h2s.h2s import H2s

    shapes = {name: tuple(shape) for name, shape in _json(folder / SHAPES).items()}
    info = _json(folder / INFO)
    model = load_published({name: golden_weight(name, shape) for name, shape in shapes.items()})
    if not isinstance(model, H2s):
        raise ValueError(f"{folder} is of an AVISM")
    expected = start_as(model, _arrays(folder))
    for name in [name for name in expected if name.startswith("bi_attn")]:
        expected[name] = expected[name][None]  # of frame 0
    outputs: dict[str, NDArray[Any]] = {}
    hooks = [_kept(model, outputs, name, *where) for name, where in H2S_PARTS.items()]
    made = avism_outputs(model, *golden_clip(info["input"], (model.config.audio_sources,)))
    for hook in hooks:
        hook.remove()
    return [
        *_compared(outputs | made, expected),
        *_compared_statistics(outputs | made, info.get("stats", {})),
    ]


def _kept(
    model: "nn.Module",
    outputs: "dict[str, NDArray[Any]]",
    name: str,
    part: str,
    of: "Callable[[Any], Tensor]",
    into: bool = False,
) -> "RemovableHandle":
    """Keep what a part of the model makes, or gets."""
    module = model.get_submodule(part)
    if into:
        return module.register_forward_pre_hook(
            lambda _module, given: outputs.update({name: of(given[0]).numpy()})
        )
    return module.register_forward_hook(
        lambda _module, _given, made: outputs.update({name: of(made).numpy()})
    )


def start_as(model: "H2s", arrays: "Mapping[str, NDArray[Any]]") -> "dict[str, NDArray[Any]]":
    """Let the model's k-means begin with the tokens `asp_init_*`; returns the arrays that are no input."""
    import torch

    from models.networks.h2s.clustered_attention import ClusteredAttention, Starts

    for scale, look in enumerate(model.frame_decoder.source_perception.look):
        given = (torch.as_tensor(arrays[f"asp_init_{of}{scale}"]).long() for of in "qk")
        cast(ClusteredAttention, look).starts = Starts(*given)
    choices = ("asp_init", "asp_label", "asp_selected")  # what followed shows in the outputs
    return {name: array for name, array in arrays.items() if not name.startswith(choices)}


def compare_tpavi(folder: Path) -> list[Row]:
    """Our TPAVI fusion, in evaluation mode."""
    import numpy as np
    import torch

    from models.networks.tpavi.fusion import TpaviFusion

    info = _json(folder / INFO)
    sizes = info["input"]
    shapes = {name: tuple(shape) for name, shape in info["state_dict_shapes"].items()}
    fusion = TpaviFusion(channels=sizes["C"], audio_channels=shapes["align_channel.weight"][1]).eval()
    fusion.load_state_dict(
        {name: torch.as_tensor(golden_weight(name, shape)) for name, shape in shapes.items()}
    )
    random = np.random.RandomState(sizes["seed"])
    x = random.standard_normal([sizes[letter] for letter in "NCTHW"]).astype(np.float32)
    audio = random.standard_normal((sizes["N"], sizes["T"], fusion.align_channel.in_features))
    with torch.no_grad():
        z, a = fusion(torch.from_numpy(x), torch.from_numpy(audio.astype(np.float32)))
    return list(_compared({"z": z[:, ::8].numpy(), "a": a.numpy()}, _arrays(folder)))


def compare_log_mel(folder: Path) -> list[Row]:
    """Our log-mel of the folder's recording: 16 bit, channels averaged, at 16 kHz; one example per second."""
    import numpy as np
    import torch

    from models.audio.log_mel import SAMPLE_RATE_HZ, LogMel
    from models.audio.resampling import resample

    with wave.open(str(folder / SOUND)) as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{folder / SOUND} must be 16 bit")
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    expected = _arrays(folder)
    count = len(expected["log_mel"])
    mono = (samples.astype(np.float64) / 32768).mean(1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = resample(mono, rate_hz, SAMPLE_RATE_HZ)
    seconds = mono[: count * SAMPLE_RATE_HZ].astype(np.float32).reshape(count, SAMPLE_RATE_HZ)
    log_mel = LogMel()(torch.from_numpy(seconds))
    return list(_compared({"log_mel": log_mel.numpy()}, expected))


def compare(folder: Path, model: str | None = None) -> tuple[str, list[Row]]:
    """Compare ours with a folder; returns its kind (a key of TOLERANCES) and the differences.

    Raises:
        ValueError: not a golden folder, damaged, or not of this model; what is wrong is said.
    """
    try:
        return _compare(folder, model)
    except Exception as error:  # damaged files raise nearly everything
        what = " ".join(str(error).split()) or "the file ends too early"
        raise ValueError(f"{folder} cannot be compared: {type(error).__name__}: {what}") from error


def _compare(folder: Path, model: str | None) -> tuple[str, list[Row]]:
    kind = _kind(folder) if model is None else model.partition("_")[0]
    if kind == "h2s":
        return kind, compare_h2s(folder)
    if kind == "avism":
        return kind, compare_avism(folder, BACKBONES[model] if model else None)
    return kind, compare_tpavi(folder) if kind == "tpavi" else compare_log_mel(folder)


def _kind(folder: Path) -> str:
    """Which network a folder is of, from its files."""
    if (folder / SHAPES).is_file():
        return "h2s" if any("audio_decomp_queries" in name for name in _json(folder / SHAPES)) else "avism"
    if (folder / SOUND).is_file():
        return "logmel"
    if (folder / INFO).is_file() and "state_dict_shapes" in _json(folder / INFO):
        return "tpavi"
    raise ValueError(
        f"{folder} is no golden folder; it should hold {EXPECTED} and {SHAPES} with {INFO} (avism), {INFO} "
        f"with state_dict_shapes (tpavi), or {SOUND} (logmel)"
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _arrays(folder: Path) -> "dict[str, NDArray[Any]]":
    import numpy as np

    with np.load(folder / EXPECTED) as file:
        return {name: file[name] for name in file.files if name not in INFERENCE}


def _compared(ours: "Mapping[str, NDArray[Any]]", expected: "Mapping[str, NDArray[Any]]") -> Iterator[Row]:
    """Expected arrays are often the first rows only (queries, channels): ours are cut like them."""
    for name, value in expected.items():
        if name not in ours:
            raise ValueError(f"{EXPECTED} has {name!r}; known are {', '.join(ours)}")
        cut = ours[name][tuple(slice(length) for length in value.shape)]
        if cut.shape != value.shape:
            raise ValueError(
                f"{name} has shape {value.shape} in {EXPECTED} and {ours[name].shape} in our network"
            )
        yield Row(name, _largest(cut - value), _largest(value))


def _compared_statistics(
    ours: "Mapping[str, NDArray[Any]]", expected: Mapping[str, list[float]]
) -> Iterator[Row]:
    import numpy as np

    for name, value in expected.items():
        if name not in ours:
            raise ValueError(f"{INFO} has statistics of {name!r}; known are {', '.join(ours)}")
        x = ours[name]
        statistics = np.array([x.mean(), x.std(ddof=1), _largest(x)])
        yield Row(f"{name} (statistics)", _largest(statistics - np.array(value)), _largest(np.array(value)))


def _largest(x: "NDArray[Any]") -> float:
    """Largest magnitude; NaN if there is one, 0 of nothing."""
    import numpy as np

    return float(np.abs(x).max(initial=0.0))


def main(arguments: list[str] | None = None) -> int:
    """Print a table; 0 if all differences are within the tolerance, 1 if not, 2 without a comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m models.golden", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--model", choices=KINDS, help="by default found from the folder's files")
    parser.add_argument(
        "--tolerance", type=float, help=f"largest difference allowed, by default {TOLERANCES}"
    )
    chosen = parser.parse_args(arguments)
    try:
        kind, rows = compare(chosen.folder, chosen.model)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tolerance = TOLERANCES[kind] if chosen.tolerance is None else chosen.tolerance
    print(f"{'output':28}{'largest difference':>20}{'largest expected':>20}")
    for row in rows:
        verdict = "" if row.difference <= tolerance else f"  above {tolerance:g}"
        print(f"{row.name:28}{row.difference:20.2e}{row.magnitude:20.3f}{verdict}")
    failed = [row.name for row in rows if not row.difference <= tolerance]
    print(f"{kind}: {len(rows) - len(failed)} of {len(rows)} within {tolerance:g}")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
