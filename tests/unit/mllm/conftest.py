"""Fixtures of the mllm tests."""

from tests.support.chat_server import endpoint, exam, server

__all__ = ["endpoint", "exam", "server"]
