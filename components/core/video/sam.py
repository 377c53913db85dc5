"""A SAM-family model of transformers: boxes and points on some frames become masks on all frames.

Letters: T frames, H, W: the frame's height and width in pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.core.run.errors import AvisError
from components.core.video.frame_prompt import FramePrompt

# model_type of a checkpoint's config.json: its classes in transformers
CLASSES = {
    "sam2_video": ("Sam2VideoModel", "Sam2VideoProcessor"),
    "sam3_tracker_video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
    "edgetam_video": ("EdgeTamVideoModel", "Sam2VideoProcessor"),
}


class SamTracker:
    """A model that follows objects through one clip after the other."""

    def __init__(self, model: Any, processor: Any, device: str) -> None:
        self._model, self._processor, self._device = model, processor, device

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> "SamTracker":
        """Load a checkpoint from a folder as transformers saves it; nothing is downloaded.

        Raises:
            AvisError: transformers is not installed, or the folder holds no such model as safetensors.
        """
        try:
            import transformers
        except ImportError:
            raise AvisError(
                "The package transformers is not installed", fix="Install it: pip install transformers"
            ) from None
        where = str(folder)
        if not (folder / "config.json").is_file():
            raise AvisError(
                "There is no config.json of a model",
                where=where,
                fix="Download a checkpoint such as facebook/sam2.1-hiera-small to this folder.",
            )
        try:
            kind = transformers.PretrainedConfig.get_config_dict(folder, local_files_only=True)[0].get(
                "model_type"
            )
            if not isinstance(kind, str) or kind not in CLASSES:
                raise AvisError(
                    f"The model is of the type {kind!r}", where=where, fix=f"Allowed: {', '.join(CLASSES)}."
                )
            model_class, processor_class = (getattr(transformers, name) for name in CLASSES[kind])
            model = model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            processor = processor_class.from_pretrained(folder, local_files_only=True)
        except AvisError:
            raise
        except Exception as error:  # the libraries raise what they like for a damaged checkpoint
            raise AvisError(
                f"The model cannot be loaded: {str(error).strip().split(chr(10))[0]}", where=where
            ) from None
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        return cls(model.to(chosen).eval(), processor, chosen)

    @torch.inference_mode()
    def follow(
        self, frames: Sequence[NDArray[np.uint8]], tracks: Sequence[Mapping[int, FramePrompt]]
    ) -> list[list[NDArray[np.bool_] | None]]:
        """Masks [H, W] of each object on each of the T frames; None where it is not seen.

        Args:
            frames: T pictures [H, W, 3], RGB.
            tracks: for each object its prompts by frame.
        """
        # The pictures are encoded once, whatever the number of objects.
        session = self._processor.init_video_session(
            video=np.stack(frames), inference_device=self._device, max_vision_features_cache_size=len(frames)
        )
        return [self._follow_one(session, len(frames), prompts) for prompts in tracks]

    def _follow_one(
        self, session: Any, length: int, prompts: Mapping[int, FramePrompt]
    ) -> list[NDArray[np.bool_] | None]:
        session.reset_tracking_data()
        for frame, prompt in sorted(prompts.items()):
            points = [[[[x, y] for x, y, _ in prompt.points]]] if prompt.points else None
            labels = [[[int(inside) for _, _, inside in prompt.points]]] if prompt.points else None
            self._processor.add_inputs_to_inference_session(
                inference_session=session,
                frame_idx=frame,
                obj_ids=1,
                input_boxes=[[list(prompt.box)]] if prompt.box else None,
                input_points=points,
                input_labels=labels,
            )
            self._model(inference_session=session, frame_idx=frame)
        masks: list[NDArray[np.bool_] | None] = [None] * length
        start = min(prompts)
        for reverse in (True, False):  # forward last: it has the last word on frames between prompts
            for output in self._model.propagate_in_video_iterator(
                session, start_frame_idx=start, reverse=reverse
            ):
                whole = self._processor.post_process_masks(
                    [output.pred_masks], original_sizes=[[session.video_height, session.video_width]]
                )[0]
                mask = whole[0, 0].cpu().numpy().astype(bool)
                masks[output.frame_idx] = mask if mask.any() else None
        return masks
