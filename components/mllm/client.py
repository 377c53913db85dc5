"""One question to one endpoint, through the `openai` client: tries again by itself, says what it cost."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any, cast

from msgspec import Meta

from components.core.run.errors import AvisError
from components.core.text.redaction import redact, tell_secret
from components.mllm.params import EndpointParams
from components.mllm.question import response_format

Message = dict[str, Any]

_MOST_BYTES = 16 << 20  # of an answer, unpacked
_MOST_TOKENS = 10**9  # of a question or an answer
Tokens = Annotated[int, Meta(ge=0, le=_MOST_TOKENS)]


@dataclass(frozen=True)
class Reply:
    """What came back, and what it took."""

    text: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    """None where the server says something that is no count of tokens."""
    cost_usd: float | None
    """None when no prices stand in the parameters, or tokens are not counted."""
    latency_s: float
    """With the pauses of all tries."""
    retries: int


class NoReply(Exception):  # noqa: N818 - an outcome that is recorded and asked again next time
    """The endpoint gave no answer to this question after all tries."""


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

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def ask(self, messages: list[Message]) -> Reply:
        """Sends one chat and waits for its answer.

        The client tries again, with growing pauses or as `Retry-After` says, on 408, 409, 429, 5xx,
        timeouts and lost connections.

        Raises:
            NoReply: this question got no answer.
            AvisError: no question can get one: the key is refused or the model is unknown.
        """
        import openai

        settings: dict[str, Any] = {"max_completion_tokens": self._params.max_output_tokens}
        if self._params.temperature is not None:
            settings["temperature"] = self._params.temperature
        form = response_format(self._params.response_format)
        if form is not None:
            settings["response_format"] = form
        start = time.monotonic()
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model=self._params.model,
                messages=cast(Any, messages),  # the client's types know no video_url
                **settings,
            )
            completion: Any = raw.parse()
            choice = completion.choices[0]
            text, finish_reason = str(choice.message.content or ""), str(choice.finish_reason)[:100]
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise AvisError(
                f"{self._params.base_url} refuses {self._params.model}: {_one_line(error)}",
                where=f"params.yaml, mllm.models, {self._params.name}",
                fix=f"Check base_url and model, and the key in {self._params.api_key_env or 'api_key_env'}.",
            ) from error
        except openai.OpenAIError as error:
            raise NoReply(f"{type(error).__name__}: {_one_line(error)}") from error
        except (ValueError, AttributeError, IndexError, TypeError, KeyError) as error:
            raise NoReply(f"the reply is no chat completion: {_one_line(error)}") from error
        counts = (_tokens(completion.usage, name) for name in ("prompt_tokens", "completion_tokens"))
        input_tokens, output_tokens = counts
        return Reply(
            text=text,
            finish_reason=finish_reason,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=self._cost_usd(input_tokens, output_tokens),
            latency_s=round(time.monotonic() - start, 3),
            retries=raw.retries_taken,
        )

    def _cost_usd(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        per_input = self._params.usd_per_million_input_tokens
        per_output = self._params.usd_per_million_output_tokens
        if per_input is None or per_output is None or input_tokens is None or output_tokens is None:
            return None
        return (input_tokens * per_input + output_tokens * per_output) / 1e6


def _one_line(error: Exception) -> str:
    return " ".join(redact(str(error)).split())[:500]


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
