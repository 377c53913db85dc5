"""Detectron2's own tools with our AVISM; skipped where Detectron2 is not installed."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.records.results import read_results
from components.core.run.paths import Paths
from tests.support.tiny_model import write_square_set

detectron2 = pytest.importorskip(
    "detectron2", reason="Detectron2 is not installed (an extra: docs/detectron2.md)"
)

from detectron2.checkpoint import DetectionCheckpointer  # noqa: E402
from detectron2.config import get_cfg  # noqa: E402
from detectron2.data import DatasetCatalog, MetadataCatalog  # noqa: E402
from detectron2.engine import DefaultTrainer  # noqa: E402
from detectron2.evaluation import inference_on_dataset  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402

from models.detectron2 import (  # noqa: E402
    AvismTrainer,
    ClipMapper,
    ResultsWriter,
    add_avism_config,
    register_aviseg,
)
from models.detectron2.model import _targets  # noqa: E402
from models.detectron2.train import build_optimizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # of Detectron2, which is older than torch, numpy and Pillow

# The keys of the published files; the sizes of a model that trains in seconds.
BASE = """
SEED: -1
MODEL:
  BACKBONE:
    FREEZE_AT: 0
    NAME: "efficientnet_lite0"
  WEIGHTS: ""
  PIXEL_MEAN: [127.0, 127.0, 127.0]
  PIXEL_STD: [128.0, 128.0, 128.0]
  MASK_ON: True
  RESNETS:
    DEPTH: 50
    STEM_TYPE: "basic"
    STEM_OUT_CHANNELS: 64
    STRIDE_IN_1X1: False
    OUT_FEATURES: ["res2", "res3", "res4", "res5"]
    RES5_MULTI_GRID: [1, 1, 1]
DATASETS:
  TRAIN: ("avis_train",)
  TEST: ("avis_test",)
SOLVER:
  IMS_PER_BATCH: 2
  BASE_LR: 0.001
  STEPS: (2,)
  MAX_ITER: 3
  CHECKPOINT_PERIOD: 2
  WARMUP_FACTOR: 1.0
  WARMUP_ITERS: 1
  WEIGHT_DECAY: 0.05
  OPTIMIZER: "ADAMW"
  BACKBONE_MULTIPLIER: 0.1
  CLIP_GRADIENTS:
    ENABLED: True
    CLIP_TYPE: "full_model"
    CLIP_VALUE: 0.01
    NORM_TYPE: 2.0
  AMP:
    ENABLED: False
INPUT:
  MIN_SIZE_TRAIN_SAMPLING: "choice_by_clip"
  RANDOM_FLIP: "flip_by_clip"
  FORMAT: "RGB"
TEST:
  EVAL_PERIOD: 0
DATALOADER:
  FILTER_EMPTY_ANNOTATIONS: False
  NUM_WORKERS: 0
VERSION: 2
"""
TINY = """
_BASE_: ../Base-AVIS.yaml
MODEL:
  META_ARCHITECTURE: "AVISM"
  SEM_SEG_HEAD:
    NAME: "MaskFormerHead"
    IGNORE_VALUE: 255
    NUM_CLASSES: 2
    LOSS_WEIGHT: 1.0
    CONVS_DIM: 32
    MASK_DIM: 32
    NORM: "GN"
    PIXEL_DECODER_NAME: "MSDeformAttnPixelDecoder"
    IN_FEATURES: ["res2", "res3", "res4", "res5"]
    DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES: ["res3", "res4", "res5"]
    DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS: 2
    COMMON_STRIDE: 4
    TRANSFORMER_ENC_LAYERS: 1
  MASK_FORMER:
    TRANSFORMER_DECODER_NAME: "AVISMMultiScaleMaskedTransformerDecoder"
    TRANSFORMER_IN_FEATURE: "multi_scale_pixel_decoder"
    DEEP_SUPERVISION: True
    NO_OBJECT_WEIGHT: 0.1
    CLASS_WEIGHT: 2.0
    MASK_WEIGHT: 5.0
    DICE_WEIGHT: 5.0
    HIDDEN_DIM: 32
    NUM_OBJECT_QUERIES: 5
    NHEADS: 2
    DROPOUT: 0.0
    DIM_FEEDFORWARD: 32
    ENC_LAYERS: 0
    PRE_NORM: False
    ENFORCE_INPUT_PROJ: False
    SIZE_DIVISIBILITY: 32
    DEC_LAYERS: 4
    TRAIN_NUM_POINTS: 64
    OVERSAMPLE_RATIO: 3.0
    IMPORTANCE_SAMPLE_RATIO: 0.75
    TEST:
      SEMANTIC_ON: False
      INSTANCE_ON: True
      PANOPTIC_ON: False
      OVERLAP_THRESHOLD: 0.8
      OBJECT_MASK_THRESHOLD: 0.8
  AVISM:
    NHEADS: 2
    HIDDEN_DIM: 32
    DIM_FEEDFORWARD: 32
    NUM_OBJECT_QUERIES: 4
    ENC_LAYERS: 2
    DEC_LAYERS: 2
    LAST_LAYER_NUM: 2
    ENC_WINDOW_SIZE: 3
    SIM_WEIGHT: 0.5
    AUDIO: "vggish"
INPUT:
  SAMPLING_FRAME_NUM: 3
  SAMPLING_FRAME_RANGE: 20
  SAMPLING_FRAME_SHUFFLE: False
  AUGMENTATIONS: []
  MIN_SIZE_TRAIN: (32, 48)
  MAX_SIZE_TRAIN: 96
  MIN_SIZE_TEST: 32
  CROP:
    ENABLED: True
    TYPE: "absolute_range"
    SIZE: (384, 600)
  LSJ_AUG:
    ENABLED: False
    IMAGE_SIZE: 768
    MIN_SCALE: 0.1
    MAX_SCALE: 2.0
  AUDIO_DIM: 128
"""


@pytest.fixture
def squares(tmp_path):
    """A set of sounding squares, registered under the names that the configurations use."""
    paths = Paths(tmp_path / "data")
    for split in ("train", "test"):
        write_square_set(paths, split)
        register_aviseg(f"avis_{split}", paths.annotations / f"{split}.json", paths.media)
    return paths


def configuration(folder: Path, *changes, name="tiny/tiny.yaml", text=TINY):
    """As a user makes it: two files, one on top of the other, and changes from the command line."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "Base-AVIS.yaml").write_text(BASE)
    (folder / name).write_text(text)
    cfg = get_cfg()
    add_avism_config(cfg)
    cfg.merge_from_file(str(folder / name))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(folder / "out"), *changes])
    cfg.freeze()
    (folder / "out").mkdir(exist_ok=True)
    return cfg


def small(folder, *changes):
    """A model without the large parts of VGGish."""
    return configuration(folder, "MODEL.AVISM.AUDIO", "none", *changes)


def first_batch(cfg, count=2):
    mapper = ClipMapper(cfg, is_train=True)
    return [mapper(record) for record in DatasetCatalog.get("avis_train")[:count]]


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_default_trainer_trains_resumes_and_reloads(squares, tmp_path):
    torch.manual_seed(0)
    cfg = small(tmp_path)
    trainer = DefaultTrainer(cfg)
    before = weights_of(trainer.model)
    trainer.resume_or_load(resume=False)
    trainer.train()
    after = weights_of(trainer.model)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    losses = [json.loads(line) for line in (tmp_path / "out/metrics.json").read_text().splitlines()]
    assert {"loss_frame_class", "loss_video_mask", "loss_similarity", "total_loss"} <= set(losses[-1])

    longer = small(tmp_path, "SOLVER.MAX_ITER", "5")
    again = DefaultTrainer(longer)
    again.resume_or_load(resume=True)
    assert again.start_iter == 3
    assert all(torch.equal(after[name], value) for name, value in again.model.state_dict().items())
    steps = {int(state["step"]) for state in again._trainer.optimizer.state.values()}
    assert steps == {3}
    again.train()
    assert (tmp_path / "out/last_checkpoint").read_text() == "model_final.pth"

    fresh = build_model(cfg)
    DetectionCheckpointer(fresh).load(str(tmp_path / "out/model_final.pth"))
    expected = again.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in fresh.state_dict().items())


def test_checkpoints_have_the_published_names(squares, tmp_path):
    cfg = small(tmp_path)
    model = build_model(cfg)
    DetectionCheckpointer(model, str(tmp_path)).save("mine")
    saved = torch.load(tmp_path / "mine.pth")["model"]
    assert "avism_module.avism_mask_features.weight" in saved
    assert "sem_seg_head.predictor.query_feat.weight" in saved
    assert saved["criterion.empty_weight"].tolist() == pytest.approx([1, 1, 0.1])
    assert not [name for name in saved if name.startswith(("network.", "frame_decoder.", "video_module."))]

    # a published file: the other spelling, one entry of another shape, one missing, one of no use
    coco = build_model(small(tmp_path, "MODEL.META_ARCHITECTURE", "AVISM_COCO"))
    published = weights_of(coco)
    assert "vita_module.vita_mask_features.weight" in published
    published["sem_seg_head.predictor.class_embed.weight"] = torch.zeros(41, 32)
    del published["sem_seg_head.predictor.query_feat.weight"]
    published["sem_seg_head.predictor.static_extra.weight"] = torch.zeros(1)
    torch.save({"model": published}, tmp_path / "published.pth")
    other = build_model(small(tmp_path, "MODEL.META_ARCHITECTURE", "AVISM_COCO"))
    own = weights_of(other)
    incompatible = DetectionCheckpointer(other)._load_model(torch.load(tmp_path / "published.pth"))
    assert set(incompatible.missing_keys) == {
        "sem_seg_head.predictor.query_feat.weight",
        "sem_seg_head.predictor.class_embed.weight",
    }
    assert incompatible.unexpected_keys == ["sem_seg_head.predictor.static_extra.weight"]
    assert [shape[0] for shape in incompatible.incorrect_shapes] == [
        "sem_seg_head.predictor.class_embed.weight"
    ]
    loaded = weights_of(other)
    for name, value in loaded.items():
        assert torch.equal(value, own[name] if name in incompatible.missing_keys else published[name]), name

    # the one spelling loads into the other
    plain = build_model(cfg)
    plain.load_state_dict(weights_of(coco))
    assert torch.equal(
        plain.state_dict()["avism_module.av_proj.weight"], coco.state_dict()["vita_module.av_proj.weight"]
    )


def test_imagenet_file_of_detectron2_finds_the_backbone(squares, tmp_path):
    cfg = small(
        tmp_path,
        *("MODEL.BACKBONE.NAME", "build_resnet_backbone"),
        *("MODEL.PIXEL_MEAN", "[123.675, 116.280, 103.530]", "MODEL.PIXEL_STD", "[58.395, 57.120, 57.375]"),
    )
    model = build_model(cfg)
    names = [name for name in model.state_dict() if name.startswith("backbone.")]
    assert "backbone.res2.0.conv1.norm.running_mean" in names
    generator = torch.Generator().manual_seed(1)
    imagenet = {
        name.removeprefix("backbone."): torch.randn(
            model.state_dict()[name].shape, generator=generator
        ).numpy()
        for name in names
    }
    with (tmp_path / "R-50.pkl").open("wb") as file:
        pickle.dump({"model": imagenet, "__author__": "torchvision", "matching_heuristics": True}, file)
    DetectionCheckpointer(model).load(str(tmp_path / "R-50.pkl"))
    state = model.state_dict()
    assert all(np.array_equal(state[f"backbone.{name}"], value) for name, value in imagenet.items())


def test_a_value_that_we_cannot_do_is_refused(tmp_path):
    cfg = small(tmp_path, "MODEL.MASK_FORMER.DROPOUT", "0.1", "MODEL.AVISM.NHEADS", "4")
    with pytest.raises(ValueError, match=r"DROPOUT is 0.1, allowed: 0.0.*AVISM.NHEADS is 4, allowed: 2"):
        build_model(cfg)
    with pytest.raises(ValueError, match=r"BACKBONE.NAME is 'vgg', allowed: build_resnet_backbone, D2Swin"):
        build_model(small(tmp_path, "MODEL.BACKBONE.NAME", "vgg"))
    with pytest.raises(
        ValueError, match=r"DECODER_NAME of ACVIS is 'AVISMMulti\w+', allowed: ACVISMultiScale"
    ):
        build_model(small(tmp_path, "MODEL.META_ARCHITECTURE", "ACVIS"))
    with pytest.raises(ValueError, match=r"EMBED_DIM is 96, allowed: 128"):
        build_model(small(tmp_path, "MODEL.BACKBONE.NAME", "D2SwinTransformer", "MODEL.SWIN.EMBED_DIM", "96"))
    with pytest.raises(ValueError, match=r"RANDOM_FLIP is 'sideways', allowed: none, flip_by_clip"):
        ClipMapper(small(tmp_path, "INPUT.RANDOM_FLIP", "sideways"), is_train=True)
    with pytest.raises(ValueError, match="OPTIMIZER is 'LION', allowed: ADAMW, SGD"):
        build_optimizer(small(tmp_path, "SOLVER.OPTIMIZER", "LION"), torch.nn.Linear(1, 1))


def test_settings_come_from_the_configuration(tmp_path):
    model = build_model(configuration(tmp_path, "MODEL.AVISM.FREEZE_DETECTOR", "True"))
    config = model.network.config
    assert (config.backbone, config.categories, config.audio) == ("efficientnet_lite0", 2, "vggish")
    assert (config.frame_queries, config.frame_layers, config.video_queries, config.window) == (5, 3, 4, 3)
    assert (config.channels, config.heads, config.hidden, config.pixel_layers) == (32, 2, 32, 1)
    assert (config.video_encoder_layers, config.video_decoder_layers, config.video_supervision) == (2, 2, 2)
    assert (model.weights.points, model.weights.mask, model.weights.similarity) == (64, 5.0, 1.0)
    assert model.network.backbone.mean.flatten().tolist() == [127.0, 127.0, 127.0]
    trained = {name.split(".")[1] for name, x in model.named_parameters() if x.requires_grad}
    assert trained == {"video_module"}
    features = build_model(configuration(tmp_path, "MODEL.AVISM.AUDIO", ""))
    assert features.network.config.audio == "features"


@pytest.mark.parametrize(
    ("architecture", "decoder", "logits"),
    [
        ("ACVIS", "ACVISMultiScaleMaskedTransformerDecoder", 3),
        ("ACVIS_SAOC", "ACVISMultiScaleMaskedTransformerDecoder_SAOC", 2),
        ("ACVIS_SAOC", "ACVISMultiScaleMaskedTransformerDecoder_SAOC_Ablation", 4),
    ],
)
def test_acvis(squares, tmp_path, architecture, decoder, logits):
    changes = [
        *("MODEL.META_ARCHITECTURE", architecture),
        *("MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", decoder),
    ]
    model = build_model(small(tmp_path, *changes))
    assert model.network.config.audio_queries == "audio_centric"
    state = model.state_dict()
    assert "sem_seg_head.predictor.cls_token.weight" in state
    assert state["sem_seg_head.predictor.cnt_proj.bias"].shape == (logits,)
    copy = build_model(small(tmp_path, *changes))
    copy.load_state_dict(weights_of(model))
    assert all(torch.equal(x, copy.state_dict()[name]) for name, x in model.state_dict().items())
    losses = model.train()(first_batch(small(tmp_path)))
    assert losses["loss_counting"] > 0


def test_clips_of_different_sizes_are_padded_with_nothing_to_see(squares, tmp_path):
    cfg = small(tmp_path)
    model = build_model(cfg)
    large, little = torch.randint(0, 256, (2, 3, 40, 64)), torch.randint(0, 256, (2, 3, 32, 48))
    frames = model._same_size([large.byte(), little.byte()])
    seen = model.network.backbone.normalise(frames.flatten(0, 1)).unflatten(0, (2, 2))
    assert torch.equal(seen[0], model.network.backbone.normalise(large.byte()))
    assert torch.equal(seen[1, :, :, :32, :48], model.network.backbone.normalise(little.byte()))
    assert not seen[1, :, :, 32:].any()
    assert not seen[1, :, :, :, 48:].any()
    # and a step with such clips has finite losses and gradients
    batch = first_batch(small(tmp_path, "INPUT.CROP.ENABLED", "False", "INPUT.MIN_SIZE_TRAIN", "(32,)"))
    assert batch[0]["image"][0].shape != batch[1]["image"][0].shape
    losses = model.train()(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(x.grad).all() for x in model.parameters() if x.grad is not None)


def test_the_published_mapper_s_items_are_understood(squares, tmp_path):
    """It writes a class beyond the last and id -1 where a track is silent, and gives sound as arrays."""
    cfg = configuration(tmp_path, "INPUT.CROP.ENABLED", "False", "INPUT.RANDOM_FLIP", "none")
    model = build_model(cfg).train()
    ours = first_batch(cfg)
    theirs = []
    for item in ours:
        changed = dict(item, audio=[second.numpy() for second in item["audio"]], instances=[])
        for frame in item["instances"]:
            copy = frame.__class__(frame.image_size, **frame.get_fields())
            copy.gt_classes = torch.where(frame.gt_ids == -1, 2, frame.gt_classes)
            changed["instances"].append(copy)
        theirs.append(changed)
    torch.manual_seed(3)
    expected = model(ours)
    torch.manual_seed(3)
    found = model(theirs)
    assert {name: x.item() for name, x in found.items()} == {name: x.item() for name, x in expected.items()}


def test_augmentations_keep_frames_and_masks_together(squares, tmp_path):
    """A red square on green: wherever the mask is, the picture is red, whatever was drawn."""
    cfg = small(
        tmp_path,
        *("INPUT.CROP.SIZE", "(300, 400)", "INPUT.MIN_SIZE_TRAIN", "(64, 96)", "INPUT.MAX_SIZE_TRAIN", "512"),
    )
    np.random.seed(5)
    mapper = ClipMapper(cfg, is_train=True)
    record = next(x for x in DatasetCatalog.get("avis_train") if x["annotations"])
    shapes = set()
    agreeing = 0
    for _ in range(20):
        item = mapper(record)
        shapes.add(tuple(item["image"][0].shape))
        assert len({picture.shape for picture in item["image"]}) == 1
        assert len(item["image"]) == len(item["instances"]) == 3
        for picture, instances in zip(item["image"], item["instances"], strict=True):
            mask = instances.gt_masks.tensor[0]
            red = picture[0].int() > picture[1].int() + 30
            if instances.gt_ids[0] != -1:
                overlap = (mask & red).sum() / (mask | red).sum()
                assert overlap > 0.85
                agreeing += 1
            else:
                assert not mask.any()
    assert len(shapes) > 3
    assert agreeing > 10


def test_video_of_one_frame_and_of_fewer_frames_than_a_clip(squares, tmp_path):
    mapper = ClipMapper(small(tmp_path), is_train=True)
    for length in (1, 2):
        record = dict(DatasetCatalog.get("avis_train")[0], length=length)
        chosen = mapper(record)["frame_idx"]
        assert len(chosen) == 3
        assert set(chosen) <= set(range(length))


def test_sound_is_cut_by_the_second(squares, tmp_path):
    """The first square sounds in even seconds."""
    cfg = configuration(tmp_path)
    item = ClipMapper(cfg, is_train=False)(DatasetCatalog.get("avis_test")[0])
    loud = item["audio"].abs().mean(1) > 0.01
    assert item["audio"].shape == (6, 16_000)
    assert loud.tolist() == [True, False, True, False, True, False]


def test_evaluation_writes_what_the_evaluator_reads(squares, tmp_path):
    cfg = small(tmp_path)
    model = build_model(cfg)
    with torch.no_grad():  # finds something everywhere
        for layer in (
            model.network.video_module.mask_features,
            model.network.video_module.mask_head.layers[-1],
        ):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.ones_(layer.bias)
    output = model.eval()([ClipMapper(cfg, is_train=False)(DatasetCatalog.get("avis_test")[0])])
    count = len(output["pred_scores"])
    assert count >= 1
    assert output["image_size"] == (40, 64)
    assert output["pred_masks"].shape == (count, 6, 40, 64)
    assert output["pred_masks"].dtype == torch.bool
    assert len(output["pred_labels"]) == count
    results = AvismTrainer.test(cfg, model)
    assert results["results"]["videos"] == 3
    path = tmp_path / "out/inference/avis_test/results.json"
    rows = json.loads(path.read_text())
    assert len(read_results(path)) == len(rows)
    assert len(rows) == results["results"]["tracks"] >= 3
    assert {row["category_id"] for row in rows} <= {3, 7}
    assert rows[0]["segmentations"][0]["size"] == [40, 64]
    arguments = ["--ground-truth", str(squares.annotations / "test.json"), "--results", str(path)]
    scored = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "evaluate", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert scored.returncode == 0, scored.stderr
    assert "HOTA" in scored.stdout


def test_default_trainer_tests_with_detectron2_s_tools(squares, tmp_path):
    """Without AvismTrainer: DefaultTrainer's own loader and inference_on_dataset."""
    cfg = small(tmp_path)
    loader = DefaultTrainer.build_test_loader(cfg, "avis_test")
    writer = ResultsWriter("avis_test", tmp_path / "results")
    results = inference_on_dataset(build_model(cfg), loader, writer)
    assert results["results"]["videos"] == 3
    assert (tmp_path / "results/results.json").is_file()


def test_optimizer_is_the_published_one(squares, tmp_path):
    cfg = configuration(tmp_path)
    model = build_model(cfg)
    optimizer = DefaultTrainer.build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    group_of = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    named = {name.removeprefix("network."): x for name, x in model.named_parameters() if x in group_of}

    def settings(name):
        return group_of[named[name]]["lr"], group_of[named[name]]["weight_decay"]

    assert settings("frame_decoder.query_content.weight") == (0.001, 0.0)
    assert settings("frame_decoder.class_head.weight") == (0.001, 0.05)
    assert settings("frame_decoder.norm.weight") == (0.001, 0.0)
    slow = {
        group_of[x]["lr"] for name, x in named.items() if name.startswith(("backbone.", "audio_encoder."))
    }
    assert slow == {0.001 * 0.1}
    # all gradients together are clipped to 0.01
    for parameter in named.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    norm = torch.stack([x.grad.norm() for x in named.values()]).norm()
    assert norm.item() == pytest.approx(0.01, rel=0.01)


def _class_loss_of_an_empty_clip(rank, folder, squares):
    """Process 0 has a clip with a square, process 1 one in which nothing sounds."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    register_aviseg("avis_train", squares.annotations / "train.json", squares.media)
    cfg = small(folder / str(rank))
    torch.manual_seed(0)
    model = build_model(cfg).train()
    record = DatasetCatalog.get("avis_train")[0 if rank == 0 else 2]
    item = ClipMapper(cfg, is_train=True)(record)
    together = model([item])["loss_frame_class"].item()
    own = model.network.counts([_targets(item["instances"], 64, 128)], model.weights).frame_weight
    torch.save((together, own, item), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_divide_by_what_all_of_them_have(squares, tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    torch.multiprocessing.spawn(_class_loss_of_an_empty_clip, args=(tmp_path, squares), nprocs=2)
    (_, first, _), (together, second, item) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)
    )
    assert first > second
    torch.manual_seed(0)
    alone = build_model(small(tmp_path)).train()([item])["loss_frame_class"].item()
    assert together == pytest.approx(alone * second / ((first + second) / 2), rel=1e-4)


def test_other_architectures_keep_detectron2_s_own_tools():
    cfg = get_cfg()  # Mask R-CNN's kind
    cfg.MODEL.DEVICE = "cpu"
    optimizer = DefaultTrainer.build_optimizer(cfg, torch.nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.SGD)


def test_datasets(squares, tmp_path):
    records = DatasetCatalog.get("avis_train")
    assert [record["video_id"] for record in records] == [1, 2, 3]
    metadata = MetadataCatalog.get("avis_train")
    assert metadata.thing_classes == ["horn", "bell"]  # by id
    assert metadata.thing_dataset_id_to_contiguous_id == {3: 0, 7: 1}
    with pytest.raises(ValueError, match=r"has 2 categories and MODEL\.SEM_SEG_HEAD\.NUM_CLASSES is 26"):
        DefaultTrainer.build_train_loader(small(tmp_path, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "26"))
    register_aviseg("nowhere", tmp_path / "nowhere.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="DETECTRON2_DATASETS"):
        DatasetCatalog.get("nowhere")
    (tmp_path / "wrong.json").write_text('{"videos": [{"id": 1}], "categories": []}')
    register_aviseg("wrong", tmp_path / "wrong.json", tmp_path)
    with pytest.raises(ValueError, match=re.escape("wrong.json is not in AVISeg's format")):
        DatasetCatalog.get("wrong")


def test_features_that_are_not_there(squares, tmp_path):
    cfg = configuration(tmp_path, "MODEL.AVISM.AUDIO", "features")
    with pytest.raises(FileNotFoundError, match=r"set MODEL\.AVISM\.AUDIO to vggish"):
        ClipMapper(cfg, is_train=False)(DatasetCatalog.get("avis_test")[0])
