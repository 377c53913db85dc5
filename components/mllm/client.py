"""One question to one endpoint, through the `openai` client: tries again by itself, says what it cost."""

import os
import time
from dataclasses import dataclass
from typing import Any, cast

from components.core.run.errors import AvisError
from components.core.text.redaction import redact, tell_secret
from components.mllm.params import EndpointParams
from components.mllm.question import response_format

Message = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came back, and what it took."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None when no prices stand in the parameters."""
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
            api_key=key, base_url=params.base_url, timeout=timeout_s, max_retries=retries
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
            text, finish_reason = str(choice.message.content or ""), str(choice.finish_reason)
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
        usage = completion.usage
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        return Reply(
            text=text,
            finish_reason=finish_reason,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_usd=self._cost_usd(*tokens),
            latency_s=round(time.monotonic() - start, 3),
            retries=raw.retries_taken,
        )

    def _cost_usd(self, input_tokens: int, output_tokens: int) -> float | None:
        per_input = self._params.usd_per_million_input_tokens
        per_output = self._params.usd_per_million_output_tokens
        if per_input is None or per_output is None:
            return None
        return (input_tokens * per_input + output_tokens * per_output) / 1e6


def _one_line(error: Exception) -> str:
    return " ".join(redact(str(error)).split())[:500]


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
