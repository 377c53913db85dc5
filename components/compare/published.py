"""What the papers report on AVISeg: mAP / HOTA / FSLA of the published evaluator, percent."""

BACKBONES = ("R50, ImageNet", "R50, ImageNet + COCO", "Swin-L, ImageNet + COCO")

RESULTS: dict[str, tuple[tuple[float, float, float] | None, ...]] = {
    "AVISM (CVPR 2025)": ((40.57, 61.73, 42.78), (45.04, 64.52, 44.42), (53.46, 71.13, 52.49)),
    "ACVIS (ICASSP 2026)": ((42.01, 62.04, 42.43), (46.64, 65.02, 46.72), None),
    "H2S (ACM MM 2026)": ((43.21, 63.32, 45.96), (48.54, 65.70, 47.58), (55.38, 72.27, 55.06)),
    "COMBO": ((37.84, 57.39, 39.49), None, None),
    "LBVQ": ((36.58, 56.97, 34.73), None, None),
    "VITA": ((36.25, 57.48, 38.04), None, None),
    "AVSegFormer": ((35.72, 55.74, 35.66), None, None),
    "SeqFormer": ((32.79, 54.32, 30.32), None, None),
    "TeViT": ((31.52, 53.67, 32.28), None, None),
    "Mask2Former-VIS": ((28.66, 52.03, 29.75), None, None),
}
"""Method -> one triple per backbone, None where nothing is published."""
