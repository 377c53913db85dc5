"""Deformable attention against the formula of Deformable DETR (eq. 3), written as loops."""

import itertools
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.layers import deformable_attention
from models.networks.layers.deformable_attention import (
    DeformableAttention,
    fastest,
    sample_levels,
    triton_works,
)
from models.networks.layers.deformable_cpu import sample_bags

pytestmark = pytest.mark.slow

Sizes = list[tuple[int, int]]
Inputs = tuple[Tensor, Tensor, Tensor]

SIZES = [(2, 3), (4, 5)]
CELLS = sum(height * width for height, width in SIZES)
# Triton's kernels run on the processor where this is set before triton is imported: see the last tests
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
EXAMPLES = 5 if INTERPRETED else 30  # the interpreter takes a second each
every_path = pytest.mark.parametrize("path", ["bags", "grids", *(["triton"] if INTERPRETED else [])])


def bilinear(plane: Tensor, x: float, y: float) -> Tensor:
    """Value of plane [h, w, D] at (x, y) in cells, (0, 0) the centre of the first, zero outside."""
    height, width, depth = plane.shape
    left, top = math.floor(x), math.floor(y)
    total = torch.zeros(depth, dtype=plane.dtype)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * plane[row, column]
    return total


def by_loops(value: Tensor, sizes: Sizes, positions: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads, _, points = weights.shape
    result = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    for b, head in itertools.product(range(batch), range(heads)):
        start = 0
        for level, (height, width) in enumerate(sizes):
            plane = value[b, start : start + height * width, head].view(height, width, -1)
            start += height * width
            for q, p in itertools.product(range(queries), range(points)):
                x, y = positions[b, q, head, level, p].tolist()
                result[b, q, head] += weights[b, q, head, level, p] * bilinear(plane, x, y)
    return result.flatten(2)


def by_gather(value: Tensor, sizes: Sizes, positions: Tensor, weights: Tensor) -> Tensor:
    """The same with gradients: corner by corner, through memory for all samples."""
    batch, queries, heads, _, points = weights.shape
    total = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    start = 0
    for level, (height, width) in enumerate(sizes):
        table = value[:, start : start + height * width].transpose(1, 2)  # [B, H, cells, D]
        start += height * width
        x, y = positions[:, :, :, level].clamp(-2, 2 + max(height, width)).unbind(-1)
        left, top = x.detach().floor(), y.detach().floor()
        for right, down in itertools.product((0, 1), (0, 1)):
            column, row = left + right, top + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = (x - left if right else 1 - x + left) * (y - top if down else 1 - y + top)
            cell = torch.where(inside, row * width + column, 0).long()  # [B, N, H, P]
            cell = cell.transpose(1, 2).reshape(batch, heads, -1, 1).expand(-1, -1, -1, value.shape[-1])
            corner = table.gather(2, cell).view(batch, heads, queries, points, -1).transpose(1, 2)
            total = total + (corner * (inside * share * weights[:, :, :, level])[..., None]).sum(3)
    return total.flatten(2)


def sample_by(path: str, *inputs: object) -> Tensor:
    return deformable_attention._SAMPLERS[path](*inputs)


def gradients(sample: Callable[..., Tensor], sizes: Sizes, inputs: Inputs) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    result = sample(leaves[0], sizes, *leaves[1:])
    towards = torch.randn(result.shape, generator=torch.Generator().manual_seed(0)).to(result)
    return torch.autograd.grad(result, leaves, towards)


def random_inputs(
    sizes: Sizes, *, batch: int = 2, queries: int = 4, heads: int = 2, depth: int = 3, points: int = 3
) -> Inputs:
    torch.manual_seed(0)
    value = torch.randn(batch, sum(h * w for h, w in sizes), heads, depth, dtype=torch.double)
    extent = torch.tensor([(w, h) for h, w in sizes], dtype=torch.double)[:, None]
    # from a cell and a half before each level to as much after it
    positions = torch.rand(batch, queries, heads, len(sizes), points, 2, dtype=torch.double)
    positions = positions * (extent + 2) - 1.5
    weights = torch.randn(batch, queries, heads, len(sizes) * points, dtype=torch.double).softmax(-1)
    return value, positions, weights.unflatten(-1, (len(sizes), points))


@st.composite
def any_inputs(draw: st.DrawFn) -> tuple[Sizes, Inputs]:
    """Levels down to one cell, points on cell centres, between them, on borders and far outside."""
    side = st.integers(1, 5)
    sizes = draw(st.lists(st.tuples(side, side), min_size=1, max_size=3))
    counts = {name: draw(st.integers(1, 3)) for name in ("batch", "queries", "heads", "depth", "points")}
    value, positions, weights = random_inputs(sizes, **counts)
    special = st.sampled_from([-1e30, -3.0, -1.5, -0.5, 0.0, 0.5, 1.0, 2.0, 3.5, 4.0, 7.0, 1e30])
    chosen = draw(st.lists(special, max_size=positions.numel()))
    positions.view(-1)[: len(chosen)] = torch.tensor(chosen, dtype=torch.double)
    return sizes, (value, positions, weights)


# not `grid_sample`: on the way through 0..1, whole numbers are rounded to either side
exact_path = pytest.mark.parametrize("path", ["bags", *(["triton"] if INTERPRETED else [])])


@every_path
@given(case=any_inputs())
@settings(max_examples=EXAMPLES, deadline=None)
def test_samples_follow_the_formula(path: str, case: tuple[Sizes, Inputs]) -> None:
    sizes, (value, positions, weights) = case
    sampled = sample_by(path, value, sizes, positions, weights)
    torch.testing.assert_close(sampled, by_loops(value, sizes, positions, weights))


@exact_path
@given(case=any_inputs())
@settings(max_examples=EXAMPLES, deadline=None)
def test_gradients_are_those_to_the_right_at_kinks(path: str, case: tuple[Sizes, Inputs]) -> None:
    """Where points start, on cell centres, the formula has no derivative; `floor` chooses one."""
    sizes, inputs = case
    for found, expected in zip(
        gradients(partial(sample_by, path), sizes, inputs), gradients(by_gather, sizes, inputs), strict=True
    ):
        torch.testing.assert_close(found, expected)


@every_path
def test_gradients_are_those_of_the_formula(path: str) -> None:
    sizes = [(1, 1), (3, 1), (2, 3)]
    inputs = [x.requires_grad_() for x in random_inputs(sizes, batch=1, queries=2, depth=2, points=2)]
    assert torch.autograd.gradcheck(
        lambda v, at, w: sample_by(path, v, sizes, at, w), inputs, fast_mode=path == "triton"
    )


@every_path
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_values_cost_no_more_than_their_own_rounding(path: str, dtype: torch.dtype) -> None:
    value, positions, weights = random_inputs(SIZES)
    value = value.to(dtype)
    sampled = sample_by(path, value, SIZES, positions.float(), weights.float())
    exact = sample_by("grids", value.double(), SIZES, positions.float().double(), weights.float().double())
    own = 2**-8 if sampled.dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(sampled.double(), exact, atol=own, rtol=own)


def test_same_bits_whatever_the_number_of_threads() -> None:
    sizes = [(12, 20), (24, 40)]
    cells = sum(h * w for h, w in sizes)
    value, positions, weights = (x.float() for x in random_inputs(sizes, queries=cells, heads=8, depth=16))
    results = []
    try:
        for threads in (1, 1, 2, 2):
            torch.set_num_threads(threads)
            forward = sample_levels(value, sizes, positions, weights)
            results.append((forward, *gradients(sample_levels, sizes, (value, positions, weights))))
    finally:
        torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_not_a_number_stays_one_and_is_no_index() -> None:
    value, positions, weights = random_inputs(SIZES)
    positions[0, 0, 0, 0, 0] = torch.nan
    sampled = sample_levels(value, SIZES, positions, weights).unflatten(-1, (2, -1))
    assert sampled[0, 0, 0].isnan().all()
    assert sampled.isfinite().sum() == sampled.numel() - sampled.shape[-1]


def test_levels_that_do_not_fit_the_value() -> None:
    value, positions, weights = random_inputs(SIZES)
    with pytest.raises(ValueError, match=r"26 cells.*\(3, 3\)"):
        sample_levels(value, [(3, 3), (4, 5)], positions, weights)


def module_and_inputs() -> tuple[DeformableAttention, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    module = DeformableAttention(channels=8, heads=2, levels=len(SIZES), points=3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module, torch.randn(2, CELLS, 8), torch.rand(CELLS, 2), torch.randn(2, CELLS, 8)


def test_module_looks_around_each_querys_place() -> None:
    module, query, reference, source = module_and_inputs()
    value = module.value_proj(source).unflatten(-1, (2, 4))
    offsets = module.sampling_offsets(query).view(2, CELLS, 2, len(SIZES), 3, 2)
    weights = module.attention_weights(query).view(2, CELLS, 2, -1).softmax(-1).unflatten(-1, (-1, 3))
    cells = torch.tensor([(width, height) for height, width in SIZES])
    positions = reference[:, None, None, None] * cells[:, None] - 0.5 + offsets  # offsets count cells
    expected = module.output_proj(by_loops(value, SIZES, positions, weights))
    torch.testing.assert_close(module(query, reference, source, SIZES), expected, atol=1e-5, rtol=1e-4)


def outcome(module: DeformableAttention, run: object, *inputs: object) -> list[Tensor]:
    """Result and gradients of all parameters."""
    result = run(*inputs)
    return [result, *torch.autograd.grad(result.float().square().mean(), list(module.parameters()))]


COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
without_compiler = pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler")


@pytest.mark.usefixtures("without_yt_dlp")
@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=[without_compiler, pytest.mark.integration])]
)
def test_compiled_in_one_graph_it_is_the_same(backend: str) -> None:
    module, query, reference, source = module_and_inputs()
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    inputs = (query, reference, source, SIZES)
    for found, expected in zip(
        outcome(module, compiled, *inputs), outcome(module, module, *inputs), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_operator_is_registered_as_torch_wants_it() -> None:
    inputs = [x.requires_grad_() for x in random_inputs(SIZES)]
    torch.library.opcheck(sample_bags, (*inputs, [side for size in SIZES for side in size]))


def test_autocast_is_close() -> None:
    module, query, reference, source = module_and_inputs()
    inputs = (query, reference, source, SIZES)
    exact = outcome(module, module, *inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = outcome(module, module, *inputs)
    for found, expected in zip(rounded, exact, strict=True):
        assert (found.float() - expected).norm() < 0.01 * expected.norm()


@pytest.fixture
def clean_caches() -> Iterator[None]:
    def clear() -> None:
        triton_works.cache_clear()
        deformable_attention._log_fallback.cache_clear()

    clear()
    yield
    clear()


@pytest.mark.usefixtures("clean_caches")
def test_without_triton_cuda_falls_back_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "models.networks.layers.deformable_triton", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)  # its import fails
    with caplog.at_level(logging.WARNING, logger="models.networks.layers.deformable_attention"):
        kinds = [fastest("cuda", torch.float32, 32), fastest("cuda", torch.bfloat16, 32)]
    assert kinds == ["grids", "grids"]
    assert [record.name for record in caplog.records] == ["models.networks.layers.deformable_attention"]
    assert "grid_sample instead (ModuleNotFoundError" in caplog.text


@pytest.mark.skipif(INTERPRETED, reason="interpreted, it works on the processor")
@pytest.mark.usefixtures("clean_caches")
def test_kernels_that_fail_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    assert not triton_works("cpu", torch.float32, 32)  # compiled kernels cannot run there
    assert len(caplog.records) == 1


@pytest.mark.skipif(not INTERPRETED, reason="run by test_triton_kernels_interpreted")
@pytest.mark.usefixtures("clean_caches")
def test_triton_kernels_that_work_are_found_so() -> None:
    assert triton_works("cpu", torch.float32, 32)
    assert triton_works("cpu", torch.bfloat16, 16)
    assert triton_works("cpu", torch.float64, 5)


@pytest.mark.skipif(INTERPRETED, reason="this is the inner run")
def test_triton_kernels_interpreted() -> None:
    """The tests above with Triton's interpreter, which must be chosen before triton is imported."""
    pytest.importorskip("triton", reason="triton is not installed")
    command = [sys.executable, "-m", "pytest", __file__, "-k", "triton", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels are not compiled")
@pytest.mark.parametrize("sizes", [("i32",) * 4, ("constexpr",) * 4])
@pytest.mark.parametrize("kernel", ["_forward", "_backward"])
def test_triton_kernels_compile_for_hopper(kernel: str, sizes: tuple[str, ...]) -> None:
    """Down to machine code, for which no GPU is needed; a number that is 1 is a constant to Triton."""
    pytest.importorskip("triton", reason="triton is not installed")
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models.networks.layers import deformable_triton

    function = getattr(deformable_triton, kernel)
    constants = {"levels": 2, "points": 4, "depth": 32, "block": 32, "block_depth": 32}
    types = {
        "value": "*bf16",
        "result": "*bf16",
        "gradient": "*bf16",
        "sizes": sizes,
        **dict.fromkeys(("positions", "weights", "of_value", "of_positions", "of_weights"), "*fp32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    place = {name: index for index, name in enumerate(function.arg_names)}
    values = {(place[name],): constant for name, constant in constants.items()}
    values |= {(place["sizes"], index): 1 for index, kind in enumerate(sizes) if kind == "constexpr"}
    source = ASTSource(function, {name: types.get(name, "i32") for name in function.arg_names}, values)
    assert compile_kernel(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [[(1, 1)], [(3, 1), (1, 4)], [(12, 20), (24, 40), (48, 80)]])
@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_on_cuda(sizes: Sizes, heads: int, dtype: torch.dtype) -> None:
    assert fastest("cuda", dtype, 32) == "triton"
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    value, positions, weights = (
        x.to("cuda", precise) for x in random_inputs(sizes, queries=100, heads=heads, depth=32)
    )
    value = value.to(dtype)
    close = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    sampled = sample_by("triton", value, sizes, positions, weights)
    expected = sample_by("grids", value, sizes, positions, weights)
    torch.testing.assert_close(sampled.to(precise), expected, atol=close, rtol=close)
    found = gradients(partial(sample_by, "triton"), sizes, (value, positions, weights))
    expected_gradients = gradients(partial(sample_by, "grids"), sizes, (value, positions, weights))
    for one, other in zip(found, expected_gradients, strict=True):
        assert (one - other).norm() <= 2 * close * other.norm()


@pytest.mark.gpu
def test_compiled_on_cuda() -> None:
    module, query, reference, source = module_and_inputs()
    module = module.cuda()
    inputs = (query.cuda(), reference.cuda(), source.cuda(), SIZES)
    compiled = torch.compile(module, fullgraph=True)
    for found, expected in zip(
        outcome(module, compiled, *inputs), outcome(module, module, *inputs), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_without_gradients_the_compiler_is_not_even_loaded() -> None:
    """It takes seconds, in every process that predicts."""
    code = """if True:
        import sys, torch
        from models.networks.layers.deformable_attention import sample_levels
        places = torch.ones(1, 1, 1, 1, 1, 2)
        with torch.inference_mode():
            sample_levels(torch.ones(1, 4, 1, 2), [(2, 2)], places, places[..., 0])
        sys.exit("torch._dynamo" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
