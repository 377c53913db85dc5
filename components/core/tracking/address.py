"""Where runs are written: the block `tracking` of params.yaml and the environment."""

import hashlib
import os
import re
from pathlib import Path

from components.core.run.params import PARAMS, Block, read_block

NO_TRACKING = "none"  # as tracking.uri or MLFLOW_TRACKING_URI: nothing is recorded


class TrackingParams(Block):
    """Where runs are written. The environment variable MLFLOW_TRACKING_URI wins over `uri`."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "avis"
    data_experiment: str = "avis-data"


def tracking_params(path: Path = PARAMS) -> TrackingParams:
    """Read the block `tracking`; the environment variable MLFLOW_TRACKING_URI wins over its address."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    override = {"uri": uri} if uri else {}
    return read_block("tracking", TrackingParams, path=path, override=override, optional=True)


def tracking_uri(root: Path | None = None) -> str:
    """Where runs are written: MLFLOW_TRACKING_URI, else `tracking.uri` of params.yaml.

    Args:
        root: a checkout; its params.yaml is read, and a database file that it names relative to it is given
            with its whole path, for processes that run elsewhere.
    """
    if root is None:
        return tracking_params().uri
    uri = tracking_params(root / PARAMS).uri
    file = uri.removeprefix("sqlite:///")
    if file == uri or file.startswith(("/", ":")):
        return uri
    return f"sqlite:///{(root.resolve() / file).as_posix()}"


def store_name(uri: str) -> str:
    """A name for a store that does not give away the password in its address."""
    return hashlib.sha256(uri.encode()).hexdigest()[:12]


def without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)
