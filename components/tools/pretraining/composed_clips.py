"""Training examples composed in memory: as many different clips as there are numbers."""

from functools import cached_property
from pathlib import Path

import numpy as np

from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.sample.kit import Kit, load_kit
from components.sample.labels import labelled
from components.sample.mix import mix
from components.sample.params import SampleParams
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, check_held_out, plan_scene, scene_seed
from components.train.examples.batch import TrainingClip

SAMPLE_RATE_HZ = 16_000


class ComposedClips:
    """Example i is composed from its own seed; held-out sprites never appear, nor do `unseen` categories.

    Frames and sound come straight from the composer, without the detour over a video file.

    Raises:
        AvisError: clips may be too short for so many frames, or a held-out sprite or an unseen category is
            not in the kit.
    """

    def __init__(
        self, *, count: int, frames_per_clip: int, short_side_px: int, unseen: tuple[str, ...] = ()
    ) -> None:
        self.count = count
        self.unseen = unseen
        self.frames_per_clip = frames_per_clip
        self.height = short_side_px
        self.params = read_block("sample", SampleParams)
        if frames_per_clip > self.params.min_duration_s:
            raise AvisError(
                f"an example has {frames_per_clip} frames, a clip may last {self.params.min_duration_s} s",
                where="params.yaml, sample.min_duration_s",
                fix="Make it longer, or train.frames_per_clip smaller.",
            )
        self.width = round(short_side_px * self.params.width / self.params.height)
        self.settings = SceneSettings(
            split="pretrain",
            width=self.params.width,
            height=self.params.height,
            min_duration_s=self.params.min_duration_s,
            max_duration_s=self.params.max_duration_s,
            held_out_sprites=self.params.held_out_sprites,
        )

    @cached_property
    def kit(self) -> Kit:
        kit = load_kit(Path(self.params.kit))
        check_held_out(kit, self.params.held_out_sprites)
        return kit.without(self.unseen)

    @property
    def categories(self) -> dict[int, str]:
        return {self.kit.category_id(name): name for name in self.kit.categories}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> TrainingClip:
        seed = scene_seed(self.params.seed, "pretrain", index)
        scene = plan_scene(self.kit, seed, self.settings)
        chooser = np.random.default_rng(seed)
        seconds = np.sort(chooser.choice(scene.duration_s, self.frames_per_clip, replace=False))
        frames, sounds, maps, sounding = [], [], [], []
        for second in seconds.tolist():
            frame, seen = render_frame(self.kit, scene, second + 0.5, self.width, self.height)
            frames.append(frame)
            maps.append(seen)
            sounds.append(mix(self.kit, scene, second, second + 1, SAMPLE_RATE_HZ))
            sounding.append(labelled(scene, seen, second))
        marked = np.array(sounding).T  # [objects, T]
        ids = [i for i in range(len(scene.objects)) if marked[i].any()]
        stack = np.stack(maps)  # [T, H, W]
        masks = np.zeros((len(ids), *stack.shape), bool)
        for row, i in enumerate(ids):
            masks[row] = (stack == i + 1) & marked[i][:, None, None]
        labels = np.array([self.kit.category_id(scene.objects[i].category) - 1 for i in ids], np.int64)
        return TrainingClip(
            name=f"composed_{index}",
            frames=np.stack(frames),
            sound=np.stack(sounds).astype(np.float32),
            labels=labels,
            masks=masks,
        )
