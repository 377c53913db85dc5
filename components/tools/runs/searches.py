"""Saved searches for runs: components/tools/runs/searches.yaml."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("searches.yaml")
NEWEST_FIRST = ("attributes.start_time DESC",)


class Search(BaseModel):
    """One saved search.

    purpose: what it is for. filter: in MLflow's search language. order: as MLflow's order_by.
    columns: shown beside the usual ones: metrics.NAME, params.NAME or tags.NAME.
    experiment: that of the models, or that of the data stages.
    parallel: axes of a parallel coordinates plot; scatter: two axes; bars: a chart of bars for each;
    images: the pictures of test clips.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: str = ""
    filter: str = ""
    order: tuple[str, ...] = NEWEST_FIRST
    columns: tuple[str, ...] = ()
    experiment: Literal["models", "data"] = "models"
    parallel: tuple[str, ...] = ()
    scatter: tuple[str, str] | None = None
    bars: tuple[str, ...] = ()
    images: bool = False


def read_searches() -> dict[str, Search]:
    """Return the saved searches by name, in the file's order."""
    return {name: Search(**entry) for name, entry in yaml.safe_load(FILE.read_text()).items()}
