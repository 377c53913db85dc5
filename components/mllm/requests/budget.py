"""What questions may cost: estimated before the first, counted with each answer."""

from collections.abc import Iterable
from dataclasses import dataclass

from components.core.run.errors import AvisError
from components.mllm.params import EndpointParams, MllmParams
from components.mllm.requests.answers import Reply

# Tokens are counted by the server; before its first answer these stand in, on the high side of what the
# servers that we know document: a patch of 28x28 pixels, a fortieth of a second, four letters.
_PIXELS_A_TOKEN = 28 * 28
_AUDIO_TOKENS_A_SECOND = 40
_LETTERS_A_TOKEN = 4
_ANSWER_TOKENS = 500


@dataclass(frozen=True)
class Outlay:
    """What one or more questions cost."""

    requests: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Outlay") -> "Outlay":
        return Outlay(self.requests + other.requests, self.tokens + other.tokens, self.usd + other.usd)


def estimate(endpoint: EndpointParams, *, frames: int, width_px: int, audio_s: int, letters: int) -> Outlay:
    """About what a question costs; pictures are taken as 16:9."""
    given = frames * width_px * width_px * 9 // 16 // _PIXELS_A_TOKEN + audio_s * _AUDIO_TOKENS_A_SECOND
    asked = given + letters // _LETTERS_A_TOKEN
    return Outlay(1, asked + _ANSWER_TOKENS, cost_usd(endpoint, asked, _ANSWER_TOKENS) or 0.0)


def cost_usd(endpoint: EndpointParams, input_tokens: int | None, output_tokens: int | None) -> float | None:
    """None when no prices stand in the parameters, or tokens are not counted."""
    per_input, per_output = endpoint.usd_per_million_input_tokens, endpoint.usd_per_million_output_tokens
    if per_input is None or per_output is None or input_tokens is None or output_tokens is None:
        return None
    return (input_tokens * per_input + output_tokens * per_output) / 1e6


class Purse:
    """Keeps one model's outlay within `mllm.budget`.

    What was answered before counts: a run that was killed, or that the flow starts again, has the same limit.
    """

    def __init__(self, endpoint: EndpointParams, params: MllmParams) -> None:
        self._endpoint, self._limits = endpoint, params.budget
        self.spent = Outlay()
        self._promised = Outlay()

    def pay(self, reply: Reply, estimated: Outlay) -> None:
        """Count an answer; where the server counts no tokens, what was estimated."""
        counts = [count for count in (reply.input_tokens, reply.output_tokens) if count]
        usd = cost_usd(self._endpoint, reply.input_tokens, reply.output_tokens)
        self.spent += Outlay(
            1 + reply.retries,
            sum(counts) if counts else estimated.tokens,
            estimated.usd if usd is None or not counts else usd,
        )

    def announce(self, left: Iterable[Outlay], known: int) -> None:
        """Say what the questions that are left will cost.

        Raises:
            AvisError: that is more than the budget.
        """
        total = sum(left, Outlay())
        if not total.requests:
            return
        priced = cost_usd(self._endpoint, 0, 0) is not None
        price = f", {total.usd:.2f} USD" if priced else ", no price set"
        print(
            f"mllm: {self._endpoint.name}: {total.requests} questions to ask, {known} answered before; "
            f"about {total.tokens:,} tokens{price}.",
            flush=True,
        )
        self._check(self.spent + total, "the questions that are left would take")

    def promise(self, estimated: Outlay) -> None:
        """Set aside what a question costs before it is asked.

        Raises:
            AvisError: the budget does not reach for it.
        """
        self._check(self.spent + self._promised + estimated, "the next question would take")
        self._promised += estimated

    def settle(self, estimated: Outlay) -> None:
        """The question that was promised has its answer, or gets none."""
        self._promised += Outlay(-estimated.requests, -estimated.tokens, -estimated.usd)

    def _check(self, total: Outlay, what: str) -> None:
        for name, limit in self._limits.model_dump().items():
            value = getattr(total, name)
            if limit is not None and value > limit:
                raise AvisError(
                    f"{self._endpoint.name}: {what} {name} to about {value:,.6g}, and the budget is {limit:,}"
                    "; all answers so far are kept",
                    where=f"params.yaml, mllm.budget.{name}",
                    fix="Raise it, or take fewer modalities.",
                )
