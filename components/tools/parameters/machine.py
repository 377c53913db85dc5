"""Rules about this machine, and the networks, built once without memory."""

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.tracking.address import TrackingParams, why_no_address
from components.tools.parameters.rules import Facts, rule
from components.train.params import TrainParams

CATEGORIES = 26  # AVISeg's: the true number is known only after annotate, and any will do
NETWORKS = Path(__file__).parents[3] / "models" / "networks"


@rule("engine")
def engine(facts: Facts, engine: EngineParams) -> Iterator[AvisError]:
    """Ray is installed if it is asked for."""
    if engine.kind == "ray" and find_spec("ray") is None:
        yield facts.mistake(
            ("engine", "kind"),
            "Ray is not installed",
            "Install it: pip install 'avis-pipeline[ray]', or set local.",
        )


@rule("tracking")
def address_of_tracking(facts: Facts, tracking: TrackingParams) -> Iterator[AvisError]:
    """The environment's address wins over the block's, so it must be one, too."""
    name = "MLFLOW_TRACKING_URI"
    reason = why_no_address(facts.variable(name)) if facts.variable(name) else None
    if reason:
        yield AvisError(f"{name}: {reason}", where="the environment")


@rule("variants", "predict")
def gpu(facts: Facts, variants: dict[str, TrainParams], predict: PredictParams) -> Iterator[AvisError]:
    """There is a GPU if one is asked for."""
    facts.variable("CUDA_VISIBLE_DEVICES")
    training = [
        name for name, one in variants.items() if one.device == "cuda" and facts.may_run("train", name)
    ]
    predicting = predict.device == "cuda" and any(facts.may_run("predict", name) for name in variants)
    if not training and not predicting:
        return
    from torch import cuda  # costs seconds: only where it is asked for

    if cuda.is_available():
        return
    places = [facts.of_variant(name, "device") for name in training]
    for place in [*places, *([("predict", "device")] if predicting else [])]:
        yield facts.mistake(
            place,
            "cuda is asked for, but PyTorch sees no GPU",
            "Set it to auto or cpu, or run on a machine whose nvidia-smi lists one.",
        )


@rule("variants")
def networks(facts: Facts, variants: dict[str, TrainParams]) -> Iterator[AvisError]:
    """Every variant's network can be built: it is once, on the meta device, which takes no memory.

    Importing PyTorch and the networks takes seconds. So what was built is remembered, by a hash over its
    settings and the networks' code, and only what is new is built.
    """
    memory = Paths().checked / "networks.json"
    try:
        known: set[str] = set(json.loads(memory.read_text()))
    except (OSError, ValueError, TypeError):
        known = set()
    code = _code_of_networks()
    built: set[str] = set()
    for name, params in variants.items():
        if not facts.may_run("train", name):
            continue
        settings = params.model.model_dump(exclude={"name"})
        # weights are files of the user's, or downloads: they are looked for elsewhere
        settings |= {"backbone_pretrained": False, "backbone_weights": None, "audio_weights": None}
        described = json.dumps([code, params.model.name, settings], sort_keys=True)
        digest = hashlib.sha256(described.encode()).hexdigest()[:16]
        reason = None if digest in known | built else _why_not_built(params.model.name, settings)
        if reason is None:
            built.add(digest)
        else:
            place = facts.of_variant(name, "model")
            yield facts.mistake(
                place, f"the network of {name} cannot be built: {reason}", "Correct its settings."
            )
    if built - known:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, sorted(built | (known if len(known) < 1000 else set())))


def _code_of_networks() -> str:
    digest = hashlib.sha256()
    for path in sorted(NETWORKS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _why_not_built(name: str, settings: dict[str, object]) -> str | None:
    import torch

    from models.networks.registry import build

    try:
        with torch.device("meta"):
            build(name, categories=CATEGORIES, **settings)
    except Exception as error:  # whatever a layer says of sizes that do not fit
        return " ".join(str(error).split())[:300] or type(error).__name__
    return None
