"""The saved searches as views in MLflow's pages.

MLflow's page of an experiment can be opened as somebody arranged it: the arrangement is a tag of the
experiment, `mlflow.sharedViewState.<key>`, and the address names the key. What its "Share" button and its
menu "Views" write there (3.17) is written here for each saved search: filter, order, columns and charts. Its
client and its REST interface have no call for it, only for tags.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from components.tools.runs.searches import Search, read_searches

_HEADLINES = ("metrics.corrected/FSLA", "metrics.corrected/HOTA", "metrics.corrected/mAP")
_COMPARED = (
    *_HEADLINES,
    "metrics.train/gain_FSLA",
    "metrics.official/FSLA",
    "metrics.official/HOTA",
    "metrics.official/mAP",
    "metrics.predict/seconds_per_frame",
)
_VIEW_TAG = "mlflow.sharedViewState."
_RUNS_COMPARED = 100
_CHART_HEIGHT_PX = 480
MOST_IMAGES = 12  # a tag holds 5000 characters
LOCAL_SERVER = "http://127.0.0.1:5000"  # where `avis ui` listens unless told otherwise


def comparison(run_ids: Sequence[str]) -> tuple[str, Search]:
    """Return the name and the search of a view of these runs alone, with their scores as bars."""
    shown = ", ".join(f"'{run_id}'" for run_id in run_ids)
    name = "-".join(["compare", *(run_id[:8] for run_id in run_ids)])
    return name, Search(filter=f"attributes.run_id IN ({shown})", columns=_COMPARED, bars=_COMPARED)


def view_tag(
    name: str, search: Search, image_keys: Sequence[str] = (), *, listed: bool = True
) -> tuple[str, str]:
    """Return the tag (key, value) of an experiment that makes a search one of MLflow's views.

    Args:
        image_keys: of the pictures that its runs have.
        listed: in the menu "Views" of its page.
    """
    (order,) = search.order
    key, _, direction = order.rpartition(" ")
    headlines = _HEADLINES if search.experiment == "models" else ()
    # Beside them the scores would be out of sight: a dataset's column is wide.
    attributes = () if search.experiment == "models" else ("Version", "Dataset")
    columns = [
        *(f"attributes.`{attribute}`" for attribute in attributes),
        *(_quoted(name) for name in dict.fromkeys((*headlines, *search.columns))),
    ]
    state: dict[str, Any] = {
        "searchFilter": search.filter,
        "orderByKey": key,
        "orderByAsc": direction == "ASC",
        "selectedColumns": columns,
    }
    charts = _charts(name, search, image_keys)
    if charts:
        # MLflow adds a section with the clips' pictures by itself, with all parameters written over them.
        sections = {name: f"AVIS: {name}", f"{name}-clips": "clips"}
        state["compareRunSections"] = [
            {"uuid": key, "name": title, "display": key == name, "columns": 2, "cardHeight": _CHART_HEIGHT_PX}
            | {"isReordered": False, "deleted": False, "isGenerated": False}
            for key, title in sections.items()
        ]
        state["compareRunCharts"] = charts
    value = json.dumps(state, separators=(",", ":"))
    if listed:
        made_ms = time.time_ns() // 1_000_000
        value = json.dumps({"name": name, "createdAt": made_ms, "updatedAt": made_ms, "state": value})
    return f"{_VIEW_TAG}avis-{name}", value


def address(name: str, search: Search, *, server: str, experiment_id: str) -> str:
    """Return where MLflow shows a search whose view it has."""
    chart = search.parallel or search.scatter or search.images or search.bars
    query = {
        "viewStateShareKey": f"avis-{name}",
        "workflowType": "machine_learning",  # else the page greets with tools for language models
        "compareRunsMode": "CHART" if chart else "TABLE",
    }
    return f"{server}/#/experiments/{experiment_id}/runs?{urlencode(query)}"


def first_page(uri: str, experiment: str) -> str:
    """What our first page of MLflow is told in its environment (core/tracking/pages.py): the view "scores".

    Args:
        uri: of the database, as the server opens it.
        experiment: whose runs are shown.
    """
    scores = read_searches()["scores"]
    place = address("scores", scores, server="", experiment_id="{experiment_id}").lstrip("/")
    tags = dict([view_tag("scores", scores)])
    return json.dumps({"uri": uri, "experiment": experiment, "tags": tags, "address": place})


def _charts(name: str, search: Search, image_keys: Sequence[str]) -> list[Mapping[str, Any]]:
    charts: list[dict[str, Any]] = []
    if search.parallel:
        axes = [axis.partition(".") for axis in search.parallel]
        charts.append(
            {
                "type": "PARALLEL",
                "selectedParams": [key for kind, _, key in axes if kind == "params"],
                "selectedMetrics": [key for kind, _, key in axes if kind == "metrics"],
                "showAllRuns": True,
            }
        )
    if search.scatter:
        horizontal, vertical = ({"key": axis.partition(".")[2], "type": "METRIC"} for axis in search.scatter)
        charts.append({"type": "SCATTER", "xaxis": horizontal, "yaxis": vertical})
    for axis in search.bars:
        charts.append({"type": "BAR", "metricKey": axis.partition(".")[2]})
    if search.images and image_keys:
        charts.append({"type": "IMAGE", "imageKeys": list(image_keys), "step": 0, "showRunParams": False})
    common = {
        "runsCountToCompare": _RUNS_COMPARED,
        "metricSectionId": name,
        "deleted": False,
        "isGenerated": False,
    }
    return [
        {"uuid": uuid.uuid5(uuid.NAMESPACE_OID, f"{name}{place}").hex, **common, **chart}
        for place, chart in enumerate(charts)
    ]


def _quoted(column: str) -> str:
    kind, _, key = column.partition(".")
    return f"{kind}.`{key}`"
