"""AVISM for users of Detectron2: importing this registers the published architectures and datasets.

    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer
    from models.detectron2 import add_avism_config

    cfg = get_cfg()
    add_avism_config(cfg)
    cfg.merge_from_file("configs/avism/R50/avism_R50_IN.yaml")  # a published file, unchanged
    DefaultTrainer(cfg).train()

``build_model(cfg)`` and ``DetectionCheckpointer`` work too; docs/detectron2.md has the whole way.
"""

try:
    import detectron2  # noqa: F401, not this module but the package: imports here are absolute
except ImportError as error:
    raise ImportError(
        "Detectron2 is not installed, and it is not on the package index. With PyTorch there, install it by "
        "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2', or this "
        "package with its extra [detectron2]; docs/detectron2.md says more."
    ) from error

from models.detectron2.clip_mapper import ClipMapper
from models.detectron2.datasets import register_aviseg, register_published_splits
from models.detectron2.model import AvismArchitecture
from models.detectron2.published_keys import add_avism_config
from models.detectron2.train import AvismTrainer, ResultsWriter, teach_default_trainer

__all__ = [
    "AvismArchitecture",
    "AvismTrainer",
    "ClipMapper",
    "ResultsWriter",
    "add_avism_config",
    "register_aviseg",
]

register_published_splits()
teach_default_trainer()
