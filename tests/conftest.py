"""Tests record nothing in MLflow unless they say where: starting it takes seconds."""

import os

os.environ["MLFLOW_TRACKING_URI"] = "none"
os.environ.setdefault("OMP_NUM_THREADS", "1")
