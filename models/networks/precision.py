"""The number format of a network's matrix products, by name: training and inference share it."""

from pathlib import Path

import torch


def autocast_type(precision: str, device: torch.device, *, scaled: bool = False) -> torch.dtype | None:
    """Reduced precision to compute in, or None for fp32.

    `auto` is bf16 where the hardware itself has it; else fp16 on a GPU when the work is ``scaled`` (training
    skips what overflows), and fp32 everywhere else.
    """
    if precision == "auto":
        if device.type != "cuda":
            return torch.bfloat16 if cpu_has_bf16() else None
        # torch says yes to cards before Ampere, too, where bf16 is emulated
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16 if scaled else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def cpu_has_bf16() -> bool:
    """Does this processor multiply bf16 itself? Emulated, it would be slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
