"""A multi-modal model of transformers from a folder on this machine, asked as an endpoint is."""

import asyncio
import base64
import hashlib
import io
import time
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.text.redaction import redact
from components.mllm.params import EndpointParams
from components.mllm.requests.answers import Reply
from components.mllm.requests.message import Part

_EARS = ("feature_extractor", "audio_processor")
_EYES = ("image_processor",)
# model_type of a config.json -> the class of the part that writes; the part that speaks is not loaded
_THINKERS = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}


def identity(folder: Path) -> str:
    """Names the weights in an answer's key: by the names, sizes and times of their files, not their bytes.

    Raises:
        AvisError: there is no model.
    """
    if not (folder / "config.json").is_file():
        raise AvisError(
            "there is no model of transformers: no config.json",
            where=str(folder),
            fix="Download one to this folder, with config, processor and weights as safetensors.",
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    known = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{folder.resolve()} {hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"


class LocalModel:
    """A model in memory that answers one question after the other."""

    def __init__(self, params: EndpointParams, folder: Path, *, timeout_s: float) -> None:
        """Load it; nothing is downloaded, and no code of its folder is run.

        Raises:
            AvisError: transformers is not installed, the folder holds no such model, or it lacks a sense.
        """
        try:
            import transformers
        except ImportError:
            raise AvisError(
                "The package transformers is not installed", fix="Install it: pip install transformers"
            ) from None
        import torch

        self._params, self._where, self._timeout_s = params, str(folder), timeout_s
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(folder, **options)
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            thinker = _THINKERS.get(config.model_type)
            kind = getattr(transformers, thinker or "AutoModelForMultimodalLM")
            model = kind.from_pretrained(
                folder,
                config=config.thinker_config if thinker else config,
                use_safetensors=True,
                dtype="auto",
                **options,
            )
        except Exception as error:  # the libraries raise what they like for a damaged checkpoint
            raise AvisError(
                f"the model cannot be loaded: {str(error).strip().split(chr(10))[0]}", where=self._where
            ) from None
        for names, sense, needs in ((_EARS, "sound", "video"), (_EYES, "pictures", "audio")):
            asked = [modality for modality in params.modalities if modality != needs]
            if asked and not any(getattr(self._processor, name, None) for name in names):
                raise AvisError(
                    f"the model {params.name} takes no {sense}, and is to be asked as {', '.join(asked)}",
                    where=f"params.yaml, mllm.models, {params.name}",
                    fix=f"Set its modalities to [{needs}].",
                )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(device).eval()
        self._one_at_a_time = asyncio.Lock()

    async def aclose(self) -> None:
        """Nothing is open."""

    async def ask(self, messages: list[Part], schema: dict[str, Any]) -> Reply:
        """Answers one chat; the schema is not enforced.

        Raises:
            AvisError: it cannot answer, and could no other either.
        """
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._answer, messages)

    def _answer(self, messages: list[Part]) -> Reply:
        import torch

        start = time.monotonic()
        sampling: dict[str, Any] = {}
        if self._params.temperature is not None:
            sampling["do_sample"] = self._params.temperature > 0
            if sampling["do_sample"]:
                sampling["temperature"] = self._params.temperature
        try:
            inputs = self._processor.apply_chat_template(
                [{"role": message["role"], "content": _content(message["content"])} for message in messages],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(self._model.device, self._model.dtype)
            asked = inputs["input_ids"].shape[1]
            with torch.inference_mode():
                tokens = self._model.generate(
                    **inputs,
                    max_new_tokens=self._params.max_output_tokens,
                    max_time=self._timeout_s,
                    **sampling,
                )[0, asked:].tolist()
        except Exception as error:  # what it raises for a clip that is too long differs by model
            raise AvisError(
                f"{self._params.name} cannot answer: {str(error).strip().split(chr(10))[0][:500]}",
                where=self._where,
                fix="Is the clip too long, the memory too small? See mllm.frame_width_px, and modalities and "
                "max_output_tokens in mllm.models. All answers are kept.",
            ) from error
        ends = self._model.generation_config.eos_token_id
        ended = bool(tokens) and tokens[-1] in (ends if isinstance(ends, list) else [ends])
        return Reply(
            text=redact(str(self._processor.decode(tokens, skip_special_tokens=True))),
            finish_reason="stop" if ended else "length",
            input_tokens=asked,
            output_tokens=len(tokens),
            latency_s=round(time.monotonic() - start, 3),
            retries=0,
        )


def _content(content: str | list[Part]) -> list[Part]:
    """The parts of a message as processors of transformers take them."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(part) for part in content]


def _part(part: Part) -> Part:
    import numpy as np
    from PIL import Image

    if part["type"] == "image_url":
        data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
        return {"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")}
    if part["type"] == "input_audio":
        import wave

        with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return {"type": "audio", "audio": samples.astype(np.float32) / 32768}
    return part
