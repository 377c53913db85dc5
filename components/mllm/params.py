"""The `mllm` block of params.yaml."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from components.core.run.params import Block, without_secrets

Modality = Literal["audio_video", "video", "audio", "other_sound"]
"""What the model is given: both, or as controls one alone, or the pictures with the sound of another clip."""

BoxUnit = Literal["per_mille", "percent", "fraction", "pixels"]


class EndpointParams(Block):
    """One model: behind an endpoint that speaks the OpenAI chat API, or in a folder on this machine."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Our name for it: folder under data/mllm/ and row in the tables."""
    model: str | None = Field(default=None, min_length=1)
    """The model's name at the server."""
    base_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    path: Path | None = None
    """In place of these two: the folder of a model of transformers, with its weights as safetensors."""
    api_key_env: str | None = None
    """Environment variable that holds the key; none for a server that asks for no key."""
    modalities: tuple[Modality, ...] = ("audio_video", "video", "audio")
    video: Literal["frames", "video_url"] = "frames"
    """One `image_url` part per second, or one `video_url` part with an mp4 of the same frames."""
    response_format: Literal["json_object", "json_schema", "none"] = "json_object"
    """What the server is told about the form of the answer (some know no such setting: none)."""
    box_unit: BoxUnit = "per_mille"
    """What the model is asked to write boxes in, and writes them in (Qwen2.5 knows pixels only)."""
    temperature: float | None = Field(default=0.0, ge=0.0, le=10.0)
    """None where a model accepts only its own."""
    max_output_tokens: int = Field(default=8192, ge=64, le=10_000_000)
    usd_per_million_input_tokens: float | None = Field(default=None, ge=0.0)
    usd_per_million_output_tokens: float | None = Field(default=None, ge=0.0)

    @field_validator("base_url")
    @classmethod
    def _holds_no_key(cls, base_url: str | None) -> str | None:
        return base_url and without_secrets(base_url, "an environment variable, and name that in api_key_env")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.path is None and (self.model is None or self.base_url is None):
            raise ValueError(f"{self.name}: name model and base_url, or the path of a model on this machine")
        for name in ("model", "base_url", "api_key_env") if self.path else ():
            if getattr(self, name) is not None:
                raise ValueError(f"{self.name}: path stands in place of {name}")
        if self.path is not None and self.video == "video_url":
            raise ValueError(f"{self.name}: a model on this machine is given frames, not video_url")
        return self

    @model_validator(mode="after")
    def _modalities_are_distinct(self) -> Self:
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities of {self.name}: name at least one, each once")
        return self


class BudgetParams(Block):
    """The most that each model may take, with its probes, and earlier runs of these questions."""

    requests: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0.0)


class MllmParams(Block):
    """Settings of the stage `mllm`."""

    models: tuple[EndpointParams, ...] = ()
    wordings: int = Field(default=1, ge=1, le=3)
    """In how many ways each question is put; scores are their mean, and how far they lie apart."""
    frame_width_px: int = Field(default=512, ge=64, le=4096)
    """Frames are sent at most this wide."""
    jpeg_quality: int = Field(default=85, ge=10, le=100)
    concurrency: int = Field(default=4, ge=1, le=64)
    """Requests under way at the same time, per model."""
    timeout_s: float = Field(default=180.0, gt=0.0)
    """How long one request may go without an answer."""
    retries: int = Field(default=5, ge=0, le=20)
    """More tries after 429, 5xx, timeouts and lost connections, with growing pauses or as the server says."""
    max_failure_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """The stage stops when a larger share of a model's questions brought no answer at all."""
    max_invalid_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """The stage fails when a larger share of a model's answers could not be read."""
    budget: BudgetParams = BudgetParams()
    segmenter: Path | None = None
    """Folder of a SAM 2 model of transformers, which makes masks of the answers' boxes; None: no masks."""

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [endpoint.name for endpoint in self.models]
        if len(set(names)) != len(names):
            raise ValueError(f"two models share a name: {', '.join(sorted(names))}")
        return self

    @model_validator(mode="after")
    def _money_has_prices(self) -> Self:
        for endpoint in self.models if self.budget.usd is not None else ():
            for name in ("usd_per_million_input_tokens", "usd_per_million_output_tokens"):
                if getattr(endpoint, name) is None:
                    raise ValueError(
                        f"budget.usd is set, so {endpoint.name} needs {name} (0 if it costs nothing)"
                    )
        return self
