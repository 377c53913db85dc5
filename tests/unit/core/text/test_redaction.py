"""What is secret in a text, and what is not."""

import base64
import html
import json
import pickle
import re
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from components.core.run.errors import AvisError
from components.core.text.redaction import redact, redact_all, redacted_address, secrets_of
from components.core.tracking.address import TrackingParams
from components.ingest.params import IngestParams
from components.mllm.params import EndpointParams


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:word@host/x.git", "https://***@host/x.git"),
        ("https://user:w@rd@host/x", "https://***@host/x"),
        ("https://user:w/rd@host/x", "https://***@host/x"),
        ("fatal: 'https://t0ken@host/x': no", "fatal: 'https://***@host/x': no"),
        ("https://host/x?token=secret and more", "https://host/x?token=*** and more"),
        ("/x.mp4?a=1&X-Amz-Signature=ab%2F&X-Amz-Date=5", "/x.mp4?a=1&X-Amz-Signature=***&X-Amz-Date=5"),
        ("<a href='/x?a=1&amp;sig=ab'>", "<a href='/x?a=1&amp;sig=***'>"),
        ("https://host/#access_token=ab", "https://host/#access_token=***"),
        ("?u=https%3A%2F%2Fme%3Aword%40host", "?u=https%3A%2F%2F***%40host"),
        ("proxy: me:word@10.0.0.1:3128", "proxy: ***@10.0.0.1:3128"),
        ("Authorization: Basic bWU6d29yZA==", "Authorization: Basic ***"),
        ("the key sk-abcdefghijklmnop1234", "the key ***"),
    ],
)
def test_secrets_of_addresses_are_hidden_once(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "git@host:x.git",
        "/a/folder",
        "https://www.youtube.com/watch?v=abcdefghijk&t=3",
        "https://www.youtube.com/@somebody/videos",
        "http://host:8080/@somebody",
        "http://[::1]:80/@somebody",
        "sqlite:///a@b.db",
        "me@example.org: 12:30@home",
        "monkey=3&hotkey=4",
        "PascalCase=1; token: no",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text == redacted_address(text)


def test_keys_of_the_environment_are_hidden_however_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    key, password = 'p4ss w<&"ö/=rd', "geheim-wort"
    monkeypatch.setenv("SOME_API_KEY", key)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{password}@proxy:3128")
    monkeypatch.setenv("SOME_NUMBER", "not-a-secret-at-all")
    for written in (
        key,
        quote(key),
        quote(key, safe=""),
        html.escape(key),
        json.dumps(key),
        repr(key),
        password,
    ):
        assert redact(f"a {written} b") in ("a *** b", 'a "***" b', "a '***' b")
    for before in ("", "x", "xy", "xyz"):
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            coded = code(f"{before}{password}".encode()).decode()
            assert re.fullmatch(r"\w{0,4}\*\*\*", redact(coded))
            together = code(f"{before}{password}{password} {key}".encode()).decode()
            assert re.fullmatch(r"\w{0,4}\*\*\*", redact(together))
    assert redact("not-a-secret-at-all") == "not-a-secret-at-all"
    assert redact_all({key: [password, 3, (password,)], "x": None}) == {
        "***": ["***", 3, ("***",)],
        "x": None,
    }


def test_a_kept_address_tells_another_key_and_no_key() -> None:
    one, other = "https://me:word@h/a.mp4?key=1&sig=a", "https://me:word@h/a.mp4?key=2&sig=a"
    assert redacted_address(one) != redacted_address(other)
    assert redacted_address(one) != redacted_address(one.replace("word", "sword"))
    assert redacted_address(redacted_address(one)) == redacted_address(one) == redact(redacted_address(one))
    assert "word" not in redacted_address(one) and "https://***" in redacted_address(one)
    assert {"word", "me:word"} <= secrets_of(one)


def test_a_message_holds_none_in_another_process_either() -> None:
    error = AvisError("cannot get http://me:word@h/", where="http://h/?key=abc", fix="curl http://me:word@h/")
    assert str(error) == "cannot get http://***@h/ (http://h/?key=***). curl http://***@h/"
    assert "word" not in str(pickle.loads(pickle.dumps(error)).args)


@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (lambda: IngestParams(proxy="http://me:geheim@proxy:3128"), "HTTPS_PROXY"),
        (lambda: IngestParams(proxy="me:geheim@proxy:3128"), "HTTPS_PROXY"),
        (lambda: TrackingParams(uri="https://me:geheim@mlflow.example.org"), "MLFLOW_TRACKING_PASSWORD"),
        (lambda: EndpointParams(name="a", model="b", base_url="https://me:geheim@h/v1"), "api_key_env"),
        (lambda: EndpointParams(name="a", model="b", base_url="https://h/v1?api-key=geheim"), "api_key_env"),
    ],
)
def test_settings_with_secrets_are_refused_by_the_variable_to_use(make, variable: str) -> None:
    with pytest.raises(ValidationError, match=variable):
        make()


def test_settings_without_secrets_are_taken() -> None:
    assert IngestParams(proxy="http://proxy:3128").proxy == "http://proxy:3128"
    assert TrackingParams(uri="postgresql://me@db/mlflow").uri.startswith("postgresql")
