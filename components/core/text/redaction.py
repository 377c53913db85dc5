"""What is secret in a text: credentials in addresses, keys in their queries, keys of the environment.

Every door by which a text leaves calls this: messages (errors.py), terminal and logs (terminal.py), tables
and JSON (files.py), journals, pages, and what is said to MLflow and Prefect.
"""

import hashlib
import html
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from typing import TypeVar
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
_SHORTEST = 8  # characters of a variable's value: a shorter one is a word of many texts
_SHORTEST_IN_ADDRESS = 4
_T = TypeVar("_T")

# Of an address: user:password@, up to the last @ before the path; or up to the last @ of all, where what
# follows the first colon is no port: a password may hold a slash.
_USER = re.compile(
    r"(?<=:)//(?!\*{3})(?:[^\s/?#'\"<>]+|[^\s/?#'\"<>@:\[]*:(?!\d{0,5}(?:[/?#]|$))[^\s'\"<>]+)@"
)
_USER_QUOTED = re.compile(r"(?i)(?<=%3A)%2F%2F(?!\*{3})[^\s/?#&'\"<>]+?%40")  # an address inside of another
_USER_BARE = re.compile(r"(?<![\w/@.:])(?!\*{3})[\w.%+-]+:[^\s:/@'\"<>]+(?=@[\w.-]+:\d{2,5}\b)")  # of a proxy
# Of a query: names of signatures (S3, Google, Azure, CloudFront), tokens and keys, with any prefix.
_QUERY = re.compile(
    r"(?i)(?<=[?&;#])((?:[\w.-]*(?:signature|token|secret|passw(?:or)?d|api-?key|credentials?|session(?:id)?|jwt)"
    r"|(?:[\w.]*[_-])?(?:key|auth|authorization|pass|pwd|sig)|[a-z]?sig|AWSAccessKeyId))=(?!\*{3})[^&\s'\"<>#;]+"
)
_HEADER = re.compile(
    r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|token)\s+)?)(?!\*{3}|(?:basic|bearer|token)\s)[^\s'\",}]+"
)
# Keys that say themselves what they are: of OpenAI, GitHub, GitLab, Hugging Face, Slack, AWS; and a JWT.
_SHAPE = re.compile(
    r"\b(?:sk-|gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-)[A-Za-z0-9_-]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
)
_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:\w*KEY|\w*TOKEN|\w*SECRET|\w*PASSWORD|PASSWD|PASSPHRASE|PASS|CREDENTIALS?|AUTH(?:_STRING)?|COOKIE)"
    r"(?:_ID|_\d+)?$"
)
_told: set[str] = set()


def tell_secret(value: str) -> None:
    """Let all that this process says leave out a key whose variable's name does not show what it is."""
    _told.add(value)


def redact(text: str, also: Collection[str] = ()) -> str:
    """Return a text with `***` in the place of what is secret; done twice, it changes nothing more.

    Args:
        also: secrets beside the environment's, such as `secrets_of` an address that a server may repeat.
    """
    return redactor(also)(text)


def redactor(also: Collection[str] = ()) -> Callable[[str], str]:
    """Return what redacts as `redact` does, for many texts: the environment is looked through once."""
    known = _of_environment(tuple(os.environ.items()))
    return partial(_without, forms=_forms(frozenset((*_told, *known, *also))))


def redact_all(value: _T, also: Collection[str] = ()) -> _T:
    """Redact every text in mappings, lists and tuples."""
    hide = redactor(also)

    def inner(value: object) -> object:
        if isinstance(value, str):
            return hide(value)
        if isinstance(value, Mapping):
            return {inner(key): inner(item) for key, item in value.items()}
        if isinstance(value, list):
            return [*map(inner, value)]
        return tuple(map(inner, value)) if isinstance(value, tuple) else value

    return inner(value)  # type: ignore[return-value]


def redacted_address(address: str) -> str:
    """Return an address that is kept to be compared with later: another key gives another text.

    A password may be a word of a dictionary: two digits of its hash tell (255 times in 256) that it was
    changed, and nobody which of a million it is. What stands in a query may decide which video it is: eight
    digits. A path is returned as it is.
    """
    if "://" not in address or address[:5].lower() == "file:":
        return address

    def digest(text: str, digits: int) -> str:
        return HIDDEN + hashlib.sha256(text.encode(errors="replace")).hexdigest()[:digits]

    address = _USER.sub(lambda found: f"//{digest(found[0], 2)}@", address)
    return _QUERY.sub(lambda found: f"{found[1]}={digest(found[0], 8)}", address)


def secrets_of(address: str) -> set[str]:
    """The password, the keys, and what else of an address must not be shown; none of most addresses."""
    found = {match[0].partition("=")[2] for match in _QUERY.finditer(address)}
    for match in (*_USER.finditer(address), *_USER_BARE.finditer(address)):
        user, colon, password = match[0].removeprefix("//").removesuffix("@").partition(":")
        if colon:
            found |= {password, f"{user}:{password}", f"{unquote(user)}:{unquote(password)}"}
        elif address.lower().startswith(("http", "socks")):  # a token; a database's user is no secret
            found.add(user)
    return {
        form for secret in found for form in (secret, unquote(secret)) if len(form) >= _SHORTEST_IN_ADDRESS
    }


@lru_cache(maxsize=8)
def _of_environment(variables: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The secrets of the environment."""
    found: set[str] = set()
    for name, value in variables:
        if "://" in value or "@" in value:
            found |= {secret for secret in secrets_of(value) if len(secret) >= _SHORTEST_IN_ADDRESS + 2}
        elif len(value) >= _SHORTEST and _SECRET_NAME.search(name):
            found.add(value.strip())
    return frozenset(found)


@lru_cache(maxsize=64)
def _forms(secrets: frozenset[str]) -> tuple[list[str], list[str], re.Pattern[str]]:
    """How secrets may stand in a text, and in base64, the longest first; and what finds the latter."""
    found: set[str] = set()
    coded: set[str] = set()
    for secret in secrets:
        found |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
        found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], html.escape(secret)}
        found |= {html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")}
        coded |= _in_base64(secret.encode(errors="surrogateescape"))
    plain, other = (sorted(forms, key=lambda form: (-len(form), form)) for forms in (found, coded))
    any_of = "|".join(map(re.escape, other))
    # A letter beside it may hold bits of it, too, and few stand between two of them.
    run = rf"[\w+/-]?(?:(?:{any_of})(?:[\w+/-]{{0,3}}?(?={any_of}))?)+[\w+/-]?={{0,2}}"
    return plain, other, re.compile(run)


def _in_base64(secret: bytes) -> set[str]:
    """The letters that a secret makes in base64, wherever in the coded bytes it begins."""
    found = set()
    for before in range(3):
        coded = b64encode(bytes(before) + secret).decode()
        own = coded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        if len(own) >= _SHORTEST:
            found |= {own, own.replace("+", "-").replace("/", "_")}
    return found


def _without(text: str, forms: tuple[list[str], list[str], re.Pattern[str]]) -> str:
    plain, coded, in_base64 = forms
    for form in plain:
        if form in text:
            text = text.replace(form, HIDDEN)
    if any(form in text for form in coded):
        text = in_base64.sub(HIDDEN, text)
    if "@" in text:
        if "://" in text:
            text = _USER.sub(f"//{HIDDEN}@", text)
        text = _USER_BARE.sub(HIDDEN, text)
    if "=" in text:
        text = _QUERY.sub(rf"\1={HIDDEN}", text)
    if "%" in text:
        text = _USER_QUOTED.sub(f"%2F%2F{HIDDEN}%40", text)
    if "uthorization" in text or "UTHORIZATION" in text:
        text = _HEADER.sub(rf"\1{HIDDEN}", text)
    return _SHAPE.sub(HIDDEN, text)
