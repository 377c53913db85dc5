"""Parameters of training; the published R50 model and schedule are params/aviseg-r50.yaml."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from components.core.disturbance.params import DisturbParams
from components.core.run.params import Block, Seed
from models.networks.backbones import BackboneName

# The upper ends are far beyond any network of the field: what lies beyond them is a slip of the keyboard.
Count = Annotated[int, Field(ge=1, le=10_000)]  # of queries, points, frames
Depth = Annotated[int, Field(ge=1, le=100)]  # of layers
Width = Annotated[int, Field(ge=1, le=65_536)]  # of a layer
Part = Literal["backbone", "pixel_decoder", "frame_decoder", "clip_decoder"]
Pixels = Annotated[int, Field(ge=32, le=8192)]  # of a side: the backbone halves it five times


class NetworkParams(Block):
    """What all networks have."""

    backbone: BackboneName = "efficientnet_lite0"
    backbone_pretrained: bool = True
    backbone_weights: str | None = None
    backbone_frozen_parts: int = Field(default=4, ge=0, le=100)
    audio: Literal["features", "vggish", "none"] = "vggish"
    audio_channels: tuple[Width, Width, Width, Width, Width, Width] = (16, 32, 64, 64, 96, 96)
    audio_hidden: Width = 256
    audio_normalise: bool = True
    audio_weights: str | None = None
    audio_frozen: bool = False
    audio_postprocess: bool = False
    channels: int = Field(default=128, ge=8, le=8192)
    heads: Count = 8
    points: Count = 4
    pixel_layers: Depth = 2
    pixel_hidden: Width = 512
    hidden: Width = 512

    @property
    def sources(self) -> int | None:
        """How many separated sources its audio features have; None: they are of the whole sound."""
        return None

    @field_validator("heads")
    @classmethod
    def _share_the_channels(cls, heads: int, info: ValidationInfo) -> int:
        channels = info.data.get("channels")  # missing where it is wrong itself
        if channels is not None and channels % heads:
            divisors = ", ".join(
                str(count) for count in range(1, min(channels, 64) + 1) if channels % count == 0
            )
            raise ValueError(f"channels ({channels}) must be a multiple of heads; allowed here: {divisors}")
        return heads


class AvismFamilyParams(NetworkParams):
    """What an AVISM and an H2S have: every field is one of models.networks.avism's AvismConfig."""

    audio_tagging: bool = True
    frame_queries: Count = 20
    frame_layers: Depth = 3
    video_queries: Count = 20
    video_encoder_layers: int = Field(default=2, ge=0, le=100)
    video_decoder_layers: Depth = 3
    window: int = Field(default=6, ge=2, le=10_000)
    presence_head: bool = True
    audio_queries: Literal["fusion", "audio_centric"] = "fusion"
    audio_in_frames: bool = True
    audio_in_windows: bool = True
    count_token: bool = False
    count_most: Count = 2
    count_loss: Literal["ordinal", "cross_entropy"] = "ordinal"
    video_supervision: Depth = 1


class AvismParams(AvismFamilyParams):
    """Architecture of an AVISM."""

    name: Literal["avism"] = "avism"


class H2sParams(AvismFamilyParams):
    """Architecture of an H2S: every field is one of its H2sConfig, the name aside."""

    name: Literal["h2s"]
    backbone: BackboneName = "resnet50_trained_norms"
    audio: Literal["features"] = "features"
    audio_tagging: Literal[False] = False
    audio_queries: Literal["fusion"] = "fusion"  # the others are ACVIS's
    count_token: Literal[False] = False
    audio_sources: Annotated[int, Field(ge=1, le=64)] = 8

    @property
    def sources(self) -> int:
        return self.audio_sources

    @model_validator(mode="after")
    def _a_token_of_sound_each(self) -> "H2sParams":
        if self.frame_queries != self.video_queries:
            raise ValueError(
                "frame_queries and video_queries must be equal: H2S adds a token of sound to each"
            )
        return self


class TpaviParams(NetworkParams):
    """Architecture of a TPAVI model: every field is one of its TpaviConfig, the name aside."""

    name: Literal["tpavi"]
    instance_queries: Count = 20
    decoder_layers: Depth = 3
    clip_frames: Count = 2


def _network(values: object) -> str:
    """The network that a `model` block is of: the one it names, AVISM without a name."""
    return str(values.get("name", "avism") if isinstance(values, Mapping) else getattr(values, "name", ""))


ModelParams = Annotated[
    Annotated[AvismParams, Tag("avism")]
    | Annotated[H2sParams, Tag("h2s")]
    | Annotated[TpaviParams, Tag("tpavi")],
    Discriminator(
        _network,
        custom_error_type="unknown_network",
        custom_error_message="name must be avism, h2s or tpavi",
    ),
]


class LossParams(Block):
    """Weights of models.networks.losses.criterion.LossWeights."""

    classification: float = Field(default=2.0, ge=0, le=1000)
    mask: float = Field(default=5.0, ge=0, le=1000)
    dice: float = Field(default=5.0, ge=0, le=1000)
    no_object: float = Field(default=0.1, ge=0, le=1000)
    similarity: float = Field(default=1.0, ge=0, le=1000)
    presence: float = Field(default=2.0, ge=0, le=1000)
    tagging: float = Field(default=2.0, ge=0, le=1000)
    counting: float = Field(default=1.0, ge=0, le=1000)
    points: int = Field(default=2048, ge=16, le=1_000_000)


class TrainParams(Block):
    """The `train` block, with a variant's own values laid over it."""

    seed: Seed = 1
    seeds: int = Field(default=1, ge=1, le=100)  # the variant is trained so often: with seed, seed + 1, …
    checkpoint: str | None = None  # a released model, or one trained earlier: nothing is trained
    start_from: str | None = None  # weights of an earlier training; what fits is taken
    model: ModelParams = AvismParams()
    loss: LossParams = LossParams()
    steps: int = Field(default=200, ge=1, le=100_000_000)
    clips_per_step: Count = 4  # of all processes and accumulated parts together
    accumulate: Count = 1  # parts in which a process goes through its clips of a step
    processes: Count | Literal["auto"] = "auto"  # auto: one for each GPU of this machine, or for each core
    process_timeout_s: float = Field(default=600, gt=0)  # a process silent for longer has failed
    frames_per_clip: Count = 3
    frame_range: int = Field(
        default=20, ge=1, le=1_000_000
    )  # frames of a clip lie within +- this of a reference frame
    short_sides_px: tuple[Pixels, ...] = Field(default=(160,), min_length=1)
    crop_px: tuple[Pixels, Pixels] | None = (
        None  # side of a random crop before resizing, smallest and largest
    )
    max_long_side_px: Pixels | None = None  # a clip whose long side would be longer is made smaller still
    test_short_side_px: Pixels = 160
    flip: bool = True
    pasted_share: float = Field(
        default=0.0, ge=0, le=1
    )  # of examples that get another clip's objects and sound
    deaf_share: float = Field(default=0.0, ge=0, le=1)  # of steps in which the model hears nothing
    disturb: DisturbParams | None = None  # what is done to the clips of train and val first; null: nothing
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    backbone_factor: float = Field(default=0.1, ge=0, le=100)  # of the learning rate
    class_factor: float = Field(default=1.0, ge=0, le=100)  # the same for heads with a row per category
    average_decay: float | None = Field(
        default=None, gt=0, lt=1
    )  # of the weights' moving average; null: none
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    clip_gradient_norm: float = Field(default=0.01, gt=0)
    schedule: Literal["step", "cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0, le=100_000_000)
    milestones: tuple[
        Annotated[int, Field(ge=1)], ...
    ] = ()  # of the step schedule: the rate falls to a tenth
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False  # torch.compile
    frozen_parts: tuple[Part, ...] = ()  # which keep their weights: less to learn, and less time
    checkpoint_activations: tuple[Part, ...] = ()  # parts computed again in the backward pass, to save memory
    loader_workers: int = Field(default=0, ge=0, le=256)
    validate_every_steps: int = Field(default=0, ge=0)  # score clips of val so often; 0: never
    validation_clips: int = Field(default=8, ge=1)  # … so many of them, spread over val
    stop_after_validations: int | None = Field(default=None, ge=1)  # … without gain; null: never
    keep: Literal["best", "last"] = "last"  # best: the scored state with the highest FSLA + HOTA
    checkpoint_every_steps: int = Field(default=50, ge=1)
    log_every_steps: int = Field(default=10, ge=1)

    @field_validator("frozen_parts", "checkpoint_activations")
    @classmethod
    def _are_parts_of_the_model(cls, parts: tuple[Part, ...], info: ValidationInfo) -> tuple[Part, ...]:
        other = {"avism": "clip_decoder", "tpavi": "frame_decoder"}.get(
            getattr(info.data.get("model"), "name", "")
        )
        if other in parts:
            raise ValueError(f"this model has no {other}")
        return parts

    @model_validator(mode="after")
    def _schedule_and_crop(self) -> "TrainParams":
        if self.schedule == "cosine" and self.milestones:
            raise ValueError("milestones belong to schedule: step")
        if self.crop_px is not None and self.crop_px[0] > self.crop_px[1]:
            raise ValueError("crop_px is [smallest, largest]")
        smallest = min(*self.short_sides_px, self.test_short_side_px, *(self.crop_px or ()))
        if self.model.sources is not None and smallest < 96:
            raise ValueError(
                f"pictures of {smallest} pixels are too small for H2S, which sorts cells of a map of a 32nd"
                " of that into 8 clusters: short_sides_px, crop_px and test_short_side_px from 96 on"
            )
        return self

    @model_validator(mode="after")
    def _sounds_can_be_added(self) -> "TrainParams":
        if self.pasted_share and self.model.audio == "features":
            raise ValueError("pasted_share needs sound as samples: in the block model, audio: vggish or none")
        return self

    @model_validator(mode="after")
    def _frozen_parts_know_something(self) -> "TrainParams":
        unlearned = [part for part in self.frozen_parts if part != "backbone"]
        if unlearned and self.start_from is None and self.checkpoint is None:
            raise ValueError(
                f"frozen_parts: {', '.join(unlearned)} would keep random weights, since start_from is null; "
                "set frozen_parts to []"
            )
        return self

    @model_validator(mode="after")
    def _the_best_is_known(self) -> "TrainParams":
        if self.validate_every_steps:
            return self
        if self.keep == "best":
            raise ValueError("keep: best needs validate_every_steps above 0")
        if self.stop_after_validations is not None:
            raise ValueError("stop_after_validations needs validate_every_steps above 0")
        return self

    @model_validator(mode="after")
    def _seeds_are_seeds(self) -> "TrainParams":
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"seed ({self.seed}) leaves no room for {self.seeds} seeds below 2**32")
        return self

    def with_seed(self, number: int) -> "TrainParams":
        """The settings of the training with the first, second, … seed."""
        return self.model_copy(update={"seed": self.seed + number - 1})

    @model_validator(mode="after")
    def _clips_can_be_shared(self) -> "TrainParams":
        named = 1 if self.processes == "auto" else self.processes
        if self.clips_per_step % (named * self.accumulate):
            raise ValueError(cannot_share(self.clips_per_step, named, self.accumulate))
        return self


def cannot_share(clips: int, processes: int, accumulate: int) -> str:
    """What is allowed when the clips of a step do not divide among processes and accumulated parts."""
    parts = processes * accumulate
    divisors = [str(count) for count in range(1, clips + 1) if clips % count == 0]
    return (
        f"clips_per_step is {clips}, which {processes} processes x accumulate {accumulate} = {parts} parts "
        f"cannot share evenly; allowed are {', '.join(divisors)} parts, "
        f"or a clips_per_step that is a multiple of {parts}"
    )
