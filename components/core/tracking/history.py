"""All that MLflow knows of runs and registered models, in a folder: to be taken to another machine.

`runs/<id>/run.json` has a run's parameters, metrics, tags, datasets and models, `files` beside it what is
kept with it; `models.json` the registry. MLflow gives new ids: runs are known again by their tag
`avis.reference`, versions keep their numbers.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.text.redaction import redacted_address
from components.core.tracking.mlflow_store import METRICS_A_REQUEST, REFERENCE, Away, Store, pages

_UNFINISHED = "avis.importing"  # tag of a run whose import was cut off
_ENDED = ("FINISHED", "FAILED", "KILLED")
_OF_A_REQUEST = 100  # parameters, tags
_VERSIONS_OF_MODEL = "mlflow.modelVersions"


def export_history(uri: str, folder: Path, experiments: Sequence[str], scratch: Path) -> dict[str, int]:
    """Write what MLflow holds to a new folder.

    Args:
        uri: of MLflow.
        folder: must not be there yet; it is complete as soon as it is.
        experiments: whose runs.
        scratch: `Paths.tracking`.

    Returns:
        How many runs, files and versions; and how many runs were "at work" and are left out.

    Raises:
        AvisError: the folder is there, or MLflow cannot be read.
    """
    if folder.exists():
        raise AvisError("it is there already", where=str(folder), fix="Name a new folder.")
    counts = dict.fromkeys(("runs", "files", "versions", "at work"), 0)
    unfinished = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    with _asking(uri, scratch) as store:
        found = [
            one for name in experiments if (one := store.client.get_experiment_by_name(name)) is not None
        ]
        names = {one.experiment_id: one.name for one in found}
        for run in pages(store.client.search_runs, experiment_ids=list(names)) if names else ():
            if run.info.status not in _ENDED:
                counts["at work"] += 1
                continue
            place = unfinished / "runs" / run.info.run_id
            (place / "files").mkdir(parents=True)
            if store.client.list_artifacts(run.info.run_id):
                store.client.download_artifacts(run.info.run_id, "", str(place / "files"))
            write_text(place / "run.json", json.dumps(_told_of(store, run, names), indent=1) + "\n")
            counts["runs"] += 1
            counts["files"] += sum(path.is_file() for path in (place / "files").rglob("*"))
        models = [_model(store, one) for one in pages(store.client.search_registered_models)]
        counts["versions"] = sum(len(one["versions"]) for one in models)
    unfinished.mkdir(exist_ok=True)
    write_text(unfinished / "models.json", json.dumps(models, indent=1) + "\n")
    unfinished.rename(folder)
    return counts


def import_history(uri: str, folder: Path, scratch: Path) -> dict[str, int]:
    """Bring what `export_history` wrote into an MLflow; what it has already stays as it is.

    Returns:
        How many runs and versions were added, and how many were "known".

    Raises:
        AvisError: the folder is no export, MLflow cannot be reached, or has other versions of a model.
    """
    if not (folder / "models.json").is_file():
        raise AvisError("it is no folder that avis runs export wrote", where=str(folder))
    counts = dict.fromkeys(("runs", "versions", "known"), 0)
    new_ids: dict[str, str] = {}
    added: list[tuple[str, dict[str, str]]] = []
    models = json.loads((folder / "models.json").read_bytes())
    told = [json.loads(file.read_bytes()) for file in folder.glob("runs/*/run.json")]
    with _asking(uri, scratch) as store:
        for model in models:
            _refuse_other_versions(store, model)
        new_models: dict[str, str] = {}
        for run in sorted(told, key=lambda one: (one["start_ms"], one["id"])):
            experiment = store.experiment(run["experiment"])
            known = store.known_run(run["id"], experiment)
            if known is not None and _UNFINISHED in known.data.tags:
                store.client.delete_run(known.info.run_id)
                known = None
            counts["runs" if known is None else "known"] += 1
            if known is None:
                known = _add_run(store, experiment, run, folder / "runs" / run["id"] / "files")
                added.append((known.info.run_id, run["tags"]))
            new_ids[run["id"]] = known.info.run_id
            outputs = getattr(known.outputs, "model_outputs", None) or []
            new_models |= dict(
                zip((one["id"] for one in run["models"]), (one.model_id for one in outputs), strict=False)
            )
        for new_id, tags in added:  # which run is a run's parent, say
            for key, value in tags.items():
                if value in new_ids and key != REFERENCE:
                    store.client.set_tag(new_id, key, new_ids[value])
        for model in models:
            new = _add_versions(store, model, new_ids, new_models)
            counts["versions"] += new
            counts["known"] += len(model["versions"]) - new
    return counts


@contextmanager
def _asking(uri: str, scratch: Path) -> Iterator[Store]:
    from mlflow.exceptions import MlflowException

    scratch.mkdir(parents=True, exist_ok=True)
    try:
        store = Store(uri, scratch)
        with store.errors():
            yield store
    except Away as error:
        raise AvisError(
            f"MLflow: {error}", where=redacted_address(uri), fix=error.fix or "Is it up?"
        ) from None
    except MlflowException as error:
        raise AvisError(f"MLflow refuses: {str(error)[:200]}", where=redacted_address(uri)) from None


def _told_of(store: Store, run: Any, names: dict[str, str]) -> dict[str, Any]:
    metrics = [
        [point.key, point.value, point.timestamp, point.step]
        for key in run.data.metrics
        for point in store.client.get_metric_history(run.info.run_id, key)
    ]
    outputs = getattr(run.outputs, "model_outputs", None) or []
    inputs = getattr(run.inputs, "dataset_inputs", None) or []
    return {
        "id": run.info.run_id,
        "experiment": names[run.info.experiment_id],
        "name": run.info.run_name,
        "status": run.info.status,
        "start_ms": run.info.start_time,
        "end_ms": run.info.end_time,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": metrics,
        "datasets": [
            {"dataset": dict(one.dataset), "tags": {tag.key: tag.value for tag in one.tags}} for one in inputs
        ],
        "models": [_logged_model(store, one.model_id) for one in outputs],
    }


def _logged_model(store: Store, model_id: str) -> dict[str, Any]:
    model = store.client.get_logged_model(model_id)
    return {
        "id": model_id,
        "name": model.name,
        "type": model.model_type,
        "tags": {key: value for key, value in model.tags.items() if key != _VERSIONS_OF_MODEL},
        "params": model.params,
        "metrics": sorted({point.key for point in model.metrics or []}),
    }


def _model(store: Store, model: Any) -> dict[str, Any]:
    found = pages(store.client.search_model_versions, filter_string=f"name = '{model.name}'")
    versions = [
        {
            "number": int(one.version),
            "run": one.run_id,
            "source": one.source,
            "tags": dict(one.tags),
            "description": one.description,
        }
        for one in found
    ]
    return {
        "name": model.name,
        "description": model.description,
        "tags": dict(model.tags),
        "aliases": {alias: int(number) for alias, number in dict(model.aliases).items()},
        "versions": sorted(versions, key=lambda one: int(str(one["number"]))),
    }


def _add_run(store: Store, experiment: str, run: dict[str, Any], files: Path) -> Any:
    """Begin a run with a mark that it is unfinished, fill it, and take the mark away."""
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag

    client = store.client
    begun = {REFERENCE: run["id"], _UNFINISHED: "true"}
    new_id = client.create_run(experiment, run["start_ms"], begun, run["name"]).info.run_id
    model_of: dict[str, str] = {}
    for model in run["models"]:
        made = mlflow.create_external_model(
            model["name"],
            source_run_id=new_id,
            tags=model["tags"],
            params=model["params"],
            model_type=model["type"],
            experiment_id=experiment,
        )
        client.log_outputs(new_id, [LoggedModelOutput(made.model_id, step=0)])
        model_of |= dict.fromkeys(model["metrics"], made.model_id)
    metrics = [
        Metric(key, value, time_ms, step, model_id=model_of.get(key), run_id=new_id)
        for key, value, time_ms, step in run["metrics"]
    ]
    for begin in range(0, len(metrics), METRICS_A_REQUEST):
        client.log_batch(new_id, metrics=metrics[begin : begin + METRICS_A_REQUEST])
    params = [Param(key, value) for key, value in run["params"].items()]
    tags = [RunTag(key, value) for key, value in run["tags"].items() if key != REFERENCE]
    for begin in range(0, max(len(params), len(tags)), _OF_A_REQUEST):
        some = slice(begin, begin + _OF_A_REQUEST)
        client.log_batch(new_id, params=params[some], tags=tags[some])
    datasets = [
        DatasetInput(Dataset(**one["dataset"]), [InputTag(key, value) for key, value in one["tags"].items()])
        for one in run["datasets"]
    ]
    if datasets:
        client.log_inputs(new_id, datasets)
    if any(files.iterdir()):
        client.log_artifacts(new_id, str(files))
    client.set_terminated(new_id, run["status"], run["end_ms"])
    client.delete_tag(new_id, _UNFINISHED)
    return client.get_run(new_id)


def _versions_there(store: Store, name: str) -> dict[int, Any]:
    found = pages(store.client.search_model_versions, filter_string=f"name = '{name}'")
    return {int(one.version): one for one in found}


def _refuse_other_versions(store: Store, model: dict[str, Any]) -> None:
    """Numbers stand in tags of git and in decisions: they must not change."""
    wanted = {one["number"]: one for one in model["versions"]}
    for number, there in _versions_there(store, model["name"]).items():
        if number not in wanted or wanted[number]["tags"] != dict(there.tags):
            raise AvisError(
                f"{model['name']} version {number} is another one there",
                where="the registry",
                fix="Import into an MLflow without versions of that model, such as a new database.",
            )


def _add_versions(store: Store, model: dict[str, Any], ids: dict[str, str], models: dict[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    client, name = store.client, model["name"]
    try:
        client.create_registered_model(name, tags=model["tags"], description=model["description"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    there = _versions_there(store, name)
    added, last = 0, max(there, default=0)
    for version in model["versions"]:
        if version["number"] in there:
            continue
        while True:
            scheme, _, place = version["source"].partition(":/")
            source = (
                f"models:/{models[place]}" if scheme == "models" and place in models else version["source"]
            )
            made = client.create_model_version(
                name,
                source=source,
                run_id=ids.get(version["run"], version["run"]),
                tags=version["tags"],
                description=version["description"],
            )
            last = int(made.version)
            if last >= version["number"]:
                break
            client.delete_model_version(name, str(last))  # one with this number was removed there, too
        added += 1
        if source != version["source"]:
            model_id = source.removeprefix("models:/")
            known = json.loads(client.get_logged_model(model_id).tags.get(_VERSIONS_OF_MODEL, "[]"))
            shown = [*known, {"name": name, "version": last}]
            client.set_logged_model_tags(model_id, {_VERSIONS_OF_MODEL: json.dumps(shown)})
    for alias, number in model["aliases"].items():
        client.set_registered_model_alias(name, alias, str(number))
    return added
