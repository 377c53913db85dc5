"""The graph that is written in dvc.yaml, and what of it Prefect gets."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml

from components.core.run.errors import AvisError
from pipelines.dvc.graph import Stage, find_root, locked_stages, order_lock, read_graph, select

ROOT = find_root(Path(__file__).parent)
EXPECTED = {
    "sample": set(),
    "ingest": {"sample"},
    "extract": {"ingest"},
    "annotate": {"sample", "extract"},
    "qa": {"annotate", "extract"},
    "train@V": {"annotate", "extract", "qa"},
    "predict@V": {"annotate", "extract", "train@V"},
    "evaluate@V": {"annotate", "extract", "train@V", "predict@V"},
    "mllm": {"annotate", "extract", "train@*", "predict@*"},
    "compare": {"annotate", "extract", "train@*", "predict@*", "evaluate@*", "mllm"},
}


def variants() -> list[str]:
    return list(yaml.safe_load((ROOT / "params.yaml").read_text())["variants"])


def written() -> dict[str, set[str]]:
    graph = {}
    for name, needs in EXPECTED.items():
        for variant in variants() if "V" in name else [""]:
            spread = {need.replace("V", variant) for need in needs if "*" not in need}
            spread |= {need.replace("*", each) for need in needs if "*" in need for each in variants()}
            graph[name.replace("V", variant)] = spread
    return graph


def test_the_graph_is_the_one_of_the_architecture() -> None:
    stages = read_graph(ROOT)
    assert {stage.name: set(stage.needs) for stage in stages} == written()
    for number, stage in enumerate(stages):
        assert set(stage.needs) <= {earlier.name for earlier in stages[:number]}


def test_dvc_draws_the_same_graph() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--dot"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    edges = {
        tuple(part.strip(' ";') for part in line.split("->"))
        for line in done.stdout.splitlines()
        if "->" in line
    }
    assert edges == {(need, stage.name) for stage in read_graph(ROOT) for need in stage.needs}


def test_stage_addresses_do_not_follow_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = read_graph(ROOT)
    monkeypatch.chdir(tmp_path)
    assert read_graph(ROOT) == here


def test_code_dependencies_exist() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        deps = stage.get("do", stage)["deps"]
        code = [dep for dep in deps if dep.startswith(("components", "models"))]
        assert f"components/{name}" in code
        assert all((ROOT / dep).exists() for dep in code), name


# What changes no byte of a stage's result, whatever is done to it.
QUIET = {f"components.core.{room}" for room in ("text", "run", "tracking", "storage")}


def room_of(module: str) -> str:
    """The folder that dvc.yaml names: components/<stage>, components/core/<room>, models/<room>."""
    return ".".join(module.split(".")[: 3 if module.startswith("components.core.") else 2])


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("models", "components", "pipelines")


def reached_rooms(imports: grimp.ImportGraph, stage: str) -> set[str]:
    """The rooms of all modules that a stage's package reaches, imports inside functions included."""
    waiting = {stage, *imports.find_descendants(stage)}
    modules: set[str] = set()
    while waiting:
        module = waiting.pop()
        modules.add(module)
        further = imports.find_modules_directly_imported_by(module) - modules
        waiting |= {one for one in further if room_of(one) not in QUIET}
    return {room_of(module) for module in modules}


@pytest.mark.parametrize("stage", [name.partition("@")[0] for name in EXPECTED])
def test_a_stage_depends_on_the_rooms_that_it_reaches_and_on_no_more(
    stage: str, imports: grimp.ImportGraph
) -> None:
    written = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    deps = written.get("do", written)["deps"]
    listed = {dep.replace("/", ".") for dep in deps if dep.startswith(("components/", "models/"))}
    assert listed == reached_rooms(imports, f"components.{stage}")


@pytest.mark.parametrize(
    ("changed", "must_not_run"),
    [
        ("components/evaluate", {"train", "predict", "qa"}),
        ("components/core/tracking/run.py", set(EXPECTED)),
        ("components/compare", {"mllm", "evaluate", "train"}),
        ("docs", set(EXPECTED)),
        ("models/detectron2/model.py", set(EXPECTED)),
        ("pipelines", set(EXPECTED)),
    ],
)
def test_a_change_runs_nothing_that_it_does_not_concern(changed: str, must_not_run: set[str]) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in {name.partition("@")[0] for name in must_not_run}:
        deps = stages[name].get("do", stages[name])["deps"]
        assert not any(Path(changed).is_relative_to(dep) for dep in deps), name


def test_a_graph_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: ${nothing}\n")
    with pytest.raises(AvisError, match="nothing"):
        read_graph(tmp_path)
    with pytest.raises(AvisError, match="no checkout"):
        find_root(Path("/"))


def test_new_stages_of_the_lock_stand_in_the_graphs_order(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    lock = tmp_path / "dvc.lock"
    entries = {name: {"cmd": f"echo {name}"} for name in ("old", "c", "a", "b")}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=False))
    order_lock(tmp_path, ["old"], [Stage(name, ()) for name in ("a", "b", "c", "old", "never")])
    assert locked_stages(tmp_path) == ["old", "a", "b", "c"]
    assert yaml.safe_load(lock.read_text())["stages"] == entries


def test_targets_bring_what_they_need_and_nothing_else() -> None:
    stages = read_graph(ROOT)
    first = variants()[0]
    needed = {stage.name for stage in select(stages, [f"predict@{first}"])}
    assert needed == {"sample", "ingest", "extract", "annotate", "qa", f"train@{first}", f"predict@{first}"}
    both = {stage.name for stage in select(stages, ["train"])}
    assert both == {"sample", "ingest", "extract", "annotate", "qa", *(f"train@{key}" for key in variants())}
    assert select(stages, None) == stages
    with pytest.raises(AvisError, match=r"no stage is called trian \(targets\).*train@"):
        select(stages, ["trian", "qa"])
