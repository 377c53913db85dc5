"""MLflow's pages as `avis ui` serves them: they open where trained models are compared.

MLflow (3.17) keeps in the browser, not with an experiment, whether it shows tools for language models or
those for trainings, and begins with the former and an assistant that covers the table. So its first page
comes with a script that chooses for whoever has not chosen yet, and leads to the view with the scores.
"""

import json
import os
from pathlib import Path
from typing import Any

from components.core.run.process import end_with_parent

APP = "avis"  # the name of this application among those that `mlflow ui --app-name` knows: pyproject.toml
START = "AVIS_UI_START"  # environment variable: uri, experiment, the view's tags and its address

_SCRIPT = """
const choose = (name, value) => localStorage.getItem(name) === null && localStorage.setItem(name, value);
choose("mlflow.workflowType_v1", '"machine_learning"');
choose("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
const start = %s;
if (start && ["", "#", "#/"].includes(location.hash)) location.replace(start);
"""


def application() -> Any:
    """Return MLflow's application with our first page, for uvicorn."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    end_with_parent()  # `mlflow server` starts this process, which would keep the port when that is killed
    pages.before_request(_first_page)
    return app


def _first_page() -> Any:
    """Answer a request for the first page, None of any other."""
    from flask import Response, request
    from mlflow.server import app as pages

    if request.path != "/":
        return None
    page = (Path(str(pages.static_folder)) / "index.html").read_text(encoding="utf-8")
    script = _SCRIPT % json.dumps(_start())
    page = page.replace("<head>", f"<head><script>{script}</script>", 1)
    # Kept by the browser it would lead to an experiment of another database.
    return Response(page, mimetype="text/html", headers={"Cache-Control": "no-store"})


def _start() -> str | None:
    """The address of the view with the scores; None as long as nothing was trained."""
    import mlflow

    start = json.loads(os.environ[START])
    client = mlflow.MlflowClient(start["uri"])
    experiment = client.get_experiment_by_name(start["experiment"])
    if experiment is None:
        return None
    for key, value in start["tags"].items():
        if key not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(start["address"]).format(experiment_id=experiment.experiment_id)
