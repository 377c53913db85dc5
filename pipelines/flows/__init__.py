"""Prefect flows and what they share."""

from components.core.text.terminal import guard_logs

guard_logs()  # a worker of Prefect calls a flow, no command of ours
