"""Addresses of MLflow's registry become folders, fetched once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.core.run.errors import AvisError
from components.core.tracking.registry import WEIGHTS_MD5, Version
from components.tools.promotion.params import PromotionParams
from pipelines.flows import champion_model as module

VERSIONS = [
    Version(number, "run", 0.0, {WEIGHTS_MD5: str(number) * 32}, aliases)
    for number, aliases in ((2, []), (1, ["champion"]))
]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was fetched, (registered name, version), of a registry with two versions."""
    calls: list[tuple[str, int]] = []
    opened: list[str] = []

    def registry(root: Path, params: PromotionParams) -> Any:
        opened.append(params.model)
        return SimpleNamespace(
            versions=lambda: VERSIONS,
            version=lambda number: next(one for one in VERSIONS if one.number == number),
            with_alias=lambda alias: next((one for one in VERSIONS if alias in one.aliases), None),
        )

    def fetch(root: Path, version: Version, folder: Path) -> None:
        calls.append((opened[-1], version.number))
        folder.mkdir(parents=True)
        (folder / "config.json").touch()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "promotion_params", lambda root: PromotionParams())
    monkeypatch.setattr(module, "open_registry", registry)
    monkeypatch.setattr(module, "fetch_version", fetch)
    return calls


def test_a_version_is_fetched_once(fetched: list[tuple[str, int]], tmp_path: Path) -> None:
    folder = module.registered_model("models:/avis@champion")
    assert (folder / "config.json").is_file() and folder.parent == tmp_path / "cache" / "avis" / "models"
    assert module.registered_model("models:/avis/1") == folder
    assert module.registered_model("models:/mine/2") != folder
    assert fetched == [("avis", 1), ("mine", 2)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/avis", "is no address of a model"),
        ("models:/avis@best", r"avis has no version 'best' .*There are: champion"),
    ],
)
def test_what_is_no_version_is_one_message(
    fetched: list[tuple[str, int]], address: str, message: str
) -> None:
    with pytest.raises(AvisError, match=message):
        module.registered_model(address)
    assert not fetched
