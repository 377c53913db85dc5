"""Fixtures of the mllm tests."""

from tests.unit.mllm.chat_server import endpoint, exam, server

__all__ = ["endpoint", "exam", "server"]
