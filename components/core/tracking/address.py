"""Where runs are written: the block `tracking` of params.yaml and the environment."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from components.core.run.params import PARAMS, Block, read_block, without_secrets
from components.core.text.redaction import redacted_address

NO_TRACKING = "none"  # as tracking.uri or MLFLOW_TRACKING_URI: nothing is recorded
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S|databricks|file:")


class TrackingParams(Block):
    """Where runs are written. The environment variable MLFLOW_TRACKING_URI wins over `uri`."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = Field(default="avis", min_length=1)
    data_experiment: str = Field(default="avis-data", min_length=1)

    @field_validator("uri")
    @classmethod
    def _is_an_address(cls, uri: str) -> str:
        reason = why_no_address(uri)
        if reason:
            raise ValueError(reason)
        return without_secrets(
            uri, "MLFLOW_TRACKING_URI, or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


def why_no_address(uri: str) -> str | None:
    """Why a text is no address of a store of MLflow's; None if it may be one."""
    if uri.startswith("sqlite:") and not uri.startswith("sqlite:///"):
        return "an SQLite file is written with three slashes: sqlite:///mlflow.db"
    if uri == NO_TRACKING or _ADDRESS.match(uri):
        return None
    return (
        f"it begins with no scheme; write sqlite:///{uri or 'mlflow.db'}, http://HOST:PORT or {NO_TRACKING}"
    )


def tracking_params(path: Path = PARAMS) -> TrackingParams:
    """Read the block `tracking`; the environment variable MLFLOW_TRACKING_URI wins over its address."""
    params = read_block("tracking", TrackingParams, path=path, optional=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return params.model_copy(update={"uri": uri}) if uri else params


def tracking_uri(root: Path | None = None) -> str:
    """Where runs are written: MLFLOW_TRACKING_URI, else `tracking.uri` of params.yaml.

    Args:
        root: a checkout; its params.yaml is read, and a database file that it names relative to it is given
            with its whole path, for processes that run elsewhere.
    """
    if root is None:
        return tracking_params().uri
    return with_whole_path(tracking_params(root / PARAMS).uri, root)


def with_whole_path(uri: str, root: Path) -> str:
    """Return an address; a database file that it names relative to a checkout with its whole path."""
    file = uri.removeprefix("sqlite:///")
    if file == uri or file.startswith(("/", ":")):
        return uri
    return f"sqlite:///{(root.resolve() / file).as_posix()}"


def store_name(uri: str) -> str:
    """A name for a store that does not give away the password in its address."""
    return hashlib.sha256(redacted_address(uri).encode()).hexdigest()[:12]


def server_of(uri: str) -> str | None:
    """Return the address of MLflow's pages, without a password; None if the runs are in a database."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
