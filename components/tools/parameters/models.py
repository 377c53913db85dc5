"""Rules about what is trained, asked, compared and promoted."""

from collections.abc import Iterator
from pathlib import Path

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.mllm.params import MllmParams
from components.tools.parameters.rules import Facts, rule
from components.tools.promotion.params import PromotionParams
from components.train.params import TrainParams

Variants = dict[str, TrainParams]


@rule("variants")
def schedule(facts: Facts, variants: Variants) -> Iterator[AvisError]:
    """Warm-up and milestones lie within the training."""
    for name, params in variants.items():
        if params.warmup_steps > params.steps:
            yield facts.mistake(
                facts.of_variant(name, "warmup_steps"),
                f"a warm-up of {params.warmup_steps} steps is longer than the training of {params.steps}",
                f"Set it to at most {params.steps}, or train.steps higher.",
            )
        milestones = list(params.milestones)
        if milestones != sorted(set(milestones)) or any(one >= params.steps for one in milestones):
            yield facts.mistake(
                facts.of_variant(name, "milestones"),
                f"{milestones} are not ascending steps of a training of {params.steps}",
                f"Name steps from 1 to {params.steps - 1}, each once.",
            )


@rule("variants")
def weights(facts: Facts, variants: Variants) -> Iterator[AvisError]:
    """The files of weights are there, and something takes them."""
    for name, params in variants.items():
        files = {
            ("checkpoint",): params.checkpoint,
            ("start_from",): params.start_from,
            ("model", "backbone_weights"): params.model.backbone_weights,
            ("model", "audio_weights"): params.model.audio_weights,
        }
        for field, path in files.items():
            place = facts.of_variant(name, *field)
            fix = "Correct the path, or set it to null to do without."
            yield from facts.missing_file("train", place, path, fix, variant=name)
        if params.model.backbone_weights and params.model.backbone == "efficientnet_lite0":
            yield facts.mistake(
                facts.of_variant(name, "model", "backbone_weights"),
                "efficientnet_lite0 has its weights from its package",
                "Set it to null, or the backbone to resnet50, swin_tiny, swin_base or swin_large.",
            )


@rule("variants")
def checkpoints(facts: Facts, variants: Variants) -> Iterator[AvisError]:
    """What a variant takes over is no output of one: DVC takes outputs away before they are made anew."""
    made = {Paths().model(name).resolve(): name for name in facts.file.variants()}
    for name, params in variants.items():
        for field, file in (("checkpoint", params.checkpoint), ("start_from", params.start_from)):
            path = Path(file).resolve() if file else Path()
            maker = next((made[folder] for folder in (path, *path.parents) if folder in made), None)
            if maker is not None:
                yield facts.mistake(
                    facts.of_variant(name, field),
                    f"{file} is what the variant {maker} writes, and is made anew",
                    f"Copy it, and name the copy: cp -r {Paths().model(maker)} data/weights/{maker}",
                )


@rule("variants", "predict")
def disturbed_sound(facts: Facts, variants: Variants, predict: PredictParams) -> Iterator[AvisError]:
    """Sound is disturbed where it is heard as samples: features were made from it as it was."""
    for name, params in variants.items():
        if params.model.audio != "features" or params.checkpoint:
            continue
        for place, disturb in (
            (facts.of_variant(name, "disturb"), params.disturb),
            (("predict", "disturb"), predict.disturb),
        ):
            if disturb is not None and disturb.needs_samples:
                yield facts.mistake(
                    place,
                    f"{name} hears audio features, which cannot be disturbed so ({disturb})",
                    "Set its model.audio to vggish, or disturb.replaced_by to other_clip.",
                )


@rule("mllm", "variants")
def names_of_models(facts: Facts, mllm: MllmParams, variants: Variants) -> Iterator[AvisError]:
    """A language model is not called as a variant, nor as a file of data/mllm."""
    for number, model in enumerate(mllm.models):
        place = ("mllm", "models", number, "name")
        if model.name in variants:
            yield facts.mistake(
                place, f"{model.name!r} is the name of a variant", "Choose another: tables name both."
            )
        elif model.name in ("metrics.json", "scores.json", "report.html", "clips"):
            yield facts.mistake(place, f"data/mllm/{model.name} is of the scores", "Choose another.")
        elif model.name == "baseline":
            yield facts.mistake(place, "the baselines have this name in the tables", "Choose another.")


@rule("mllm")
def keys_of_models(facts: Facts, mllm: MllmParams) -> Iterator[AvisError]:
    """The environment has the keys of the language models."""
    for number, model in enumerate(mllm.models):
        name = model.api_key_env
        if name and not facts.variable(name).strip() and facts.may_run("mllm"):
            yield facts.mistake(
                ("mllm", "models", number, "api_key_env"),
                f"the environment variable {name} is not set",
                f"Type: export {name}=… before the run, or take the model out of mllm.models.",
            )


@rule("mllm")
def folders_of_models(facts: Facts, mllm: MllmParams) -> Iterator[AvisError]:
    """Models on this machine are there."""
    named: list[tuple[tuple[str | int, ...], Path]] = [
        (("mllm", "models", n, "path"), model.path) for n, model in enumerate(mllm.models) if model.path
    ]
    if mllm.models and mllm.segmenter:
        named.append((("mllm", "segmenter"), mllm.segmenter))
    for place, folder in named:
        if not (folder / "config.json").is_file() and facts.may_run("mllm"):
            yield facts.mistake(
                place,
                f"there is no model in {folder}: no config.json",
                "Name a folder of one of transformers.",
            )


@rule("promotion", "variants")
def promoted_variant(facts: Facts, promotion: PromotionParams, variants: Variants) -> Iterator[AvisError]:
    """What is promoted is trained."""
    names = list(facts.file.variants())  # those with mistakes, too
    if promotion.variant and promotion.variant not in names:
        yield facts.mistake(
            ("promotion", "variant"),
            f"there is no variant {promotion.variant!r}",
            f"Allowed: null (the first), {', '.join(names)}.",
        )
