"""One question to one endpoint, through the `openai` client: tries again, tells what stays refused."""

import asyncio
import os
import sys
import time
from typing import Any, cast

from components.core.run.errors import AvisError
from components.core.text.redaction import redact, tell_secret
from components.mllm.params import EndpointParams
from components.mllm.requests.answers import Reply

Message = dict[str, Any]

_MOST_BYTES = 16 << 20  # of an answer, unpacked
_MOST_TOKENS = 10**9  # of a question or an answer
REFUSED = "refused"
"""The finish reason of a refusal that the server marks as one."""
_MAY_PASS = (408, 409, 425, 429)  # of the refusals 4xx: the others stay


class NoReply(Exception):  # noqa: N818 - an outcome that is said, and asked again by the next run
    """The endpoint gave no answer to this question after all tries.

    Attributes:
        passing: whether another try may succeed with nothing mended.
    """

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Endpoint:
    """A connection to one endpoint; use it inside one event loop and `close` it there."""

    def __init__(self, params: EndpointParams, *, timeout_s: float, retries: int) -> None:
        import openai

        self._params = params
        key = _key(params)
        if params.api_key_env is not None:
            tell_secret(key)  # should the server repeat it
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=params.base_url,
            timeout=timeout_s,
            max_retries=retries,
            http_client=_limited_client(timeout_s),
        )
        self._settings = settings_of(params)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def ask(self, messages: list[Message], schema: dict[str, Any]) -> Reply:
        """Sends one chat and waits for its answer, which has this schema where the server is told of one.

        The client tries again, with growing pauses or as `Retry-After` says, on 408, 409, 429, 5xx,
        timeouts and lost connections. A setting that the server does not know is left out from then on.

        Raises:
            NoReply: this question got no answer.
            AvisError: no question can get one: the server refuses what would be refused again.
        """
        import openai

        start = time.monotonic()
        while True:
            settings = self._settings
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._params.model or "",
                    messages=cast(Any, messages),  # the client's types know no video_url
                    **with_schema(settings, schema),
                )
                break
            except openai.APIStatusError as error:
                simpler = _simpler(settings, error) if error.status_code in (400, 422) else None
                if simpler is None:
                    raise self._refusal(error) from error
                if settings is self._settings:  # else another question has just learned it
                    self._settings = simpler
                    print(
                        f"mllm: {self._params.name} is asked in a simpler way: {_one_line(error)}", flush=True
                    )
            except openai.OpenAIError as error:
                raise NoReply(f"{type(error).__name__}: {_one_line(error)}") from error
            except ValueError as error:  # what comes is endless
                raise NoReply(
                    f"the reply is no chat completion: {_one_line(error)}", passing=False
                ) from error
        return _reply(raw, round(time.monotonic() - start, 3))

    def _refusal(self, error: Any) -> Exception:
        """What a status that is no success means for the other questions."""
        quota_spent = error.code == "insufficient_quota"
        if error.status_code >= 500 or (error.status_code in _MAY_PASS and not quota_spent):
            return NoReply(f"{type(error).__name__}: {_one_line(error)}")
        return AvisError(
            f"{self._params.base_url} refuses {self._params.model}: {_one_line(error)}",
            where=f"params.yaml, mllm.models, {self._params.name}",
            fix=f"Check base_url, model, what it takes (modalities, video, response_format), and the key in "
            f"{self._params.api_key_env or 'api_key_env'}. No more was asked; all answers are kept.",
        )


def settings_of(params: EndpointParams) -> dict[str, Any]:
    """What each request says beside model and messages; `with_schema` makes it whole."""
    settings: dict[str, Any] = {"max_completion_tokens": params.max_output_tokens}
    if params.temperature is not None:
        settings["temperature"] = params.temperature
    if params.response_format != "none":
        settings["response_format"] = {"type": params.response_format}
    return settings


def with_schema(settings: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The settings of one request."""
    if settings.get("response_format", {}).get("type") != "json_schema":
        return settings
    return {**settings, "response_format": {"type": "json_schema", "json_schema": schema}}


def _simpler(settings: dict[str, Any], error: Any) -> dict[str, Any] | None:
    """The settings without the one that the server's words name; None where they name none."""
    words = f"{error.param or ''} {error}"
    rest = dict(settings)
    if "max_completion_tokens" in rest and "max_completion_tokens" in words:
        return {"max_tokens": rest.pop("max_completion_tokens"), **rest}
    if "temperature" in rest and "temperature" in words:
        del rest["temperature"]
        return rest
    form = rest.pop("response_format", None)
    if form and any(word in words for word in ("response_format", "json_schema", "json_object", "guided")):
        return {**rest, "response_format": {"type": "json_object"}} if form["type"] == "json_schema" else rest
    return None


def reply_of(completion: Any, *, latency_s: float, retries: int) -> Reply:
    """What a chat completion says; raises all sorts of errors where it is none."""
    choice = completion.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    counts = [_tokens(completion.usage, name) for name in ("prompt_tokens", "completion_tokens")]
    return Reply(
        text=redact(str(refusal or choice.message.content or "")),  # a server may repeat its key
        finish_reason=REFUSED if refusal else redact(str(choice.finish_reason))[:100],
        input_tokens=counts[0],
        output_tokens=counts[1],
        latency_s=latency_s,
        retries=retries,
    )


NO_COMPLETION = (ValueError, AttributeError, IndexError, TypeError, KeyError)
"""What `reply_of` raises."""


def _reply(raw: Any, latency_s: float) -> Reply:
    try:
        return reply_of(raw.parse(), latency_s=latency_s, retries=raw.retries_taken)
    except NO_COMPLETION as error:
        beginning = " ".join(redact(raw.text[:200]).split())
        raise NoReply(f"the reply is no chat completion, but: {beginning}", passing=False) from error


def _one_line(error: Exception) -> str:
    """With the cause: the client's own words for a lost connection are two."""
    cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
    return " ".join(redact(f"{error}{cause}").split())[:500]


def _tokens(usage: object, name: str) -> int | None:
    """A count of tokens; 0 where the server tells none, None where what it tells is no count."""
    value = getattr(usage, name, None)
    if value is None:
        return 0
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _limited_client(timeout_s: float) -> Any:
    """A client whose requests end after so long, redirects and all, and whose answers are not endless.

    openai's own timeout starts anew with each byte that comes. Any: its client's library differs by version.
    """
    import openai

    class Limited(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._whole(request, options)
            except TimeoutError:
                library = sys.modules[type(request).__module__.partition(".")[0]]
                raise library.ReadTimeout("no whole answer in time", request=request) from None

        async def _whole(self, request: Any, options: dict[str, Any]) -> Any:
            response: Any = await super().send(request, **{**options, "stream": True})
            try:
                content = bytearray()
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise ValueError(f"the answer has more than {_MOST_BYTES >> 20} MiB")
            finally:
                await response.aclose()
            coded = ("content-encoding", "content-length", "transfer-encoding")
            headers = [pair for pair in response.headers.multi_items() if pair[0].lower() not in coded]
            return type(response)(
                response.status_code, headers=headers, content=bytes(content), request=response.request
            )

    return Limited(timeout=timeout_s)


def _key(params: EndpointParams) -> str:
    if params.api_key_env is None:
        return "no-key"
    key = os.environ.get(params.api_key_env, "").strip()
    if not key:
        raise AvisError(
            f"the environment variable {params.api_key_env} is not set",
            where=f"params.yaml, mllm.models, {params.name}",
            fix=f"Type: export {params.api_key_env}=… before the run, or take the model out of mllm.models.",
        )
    return key
