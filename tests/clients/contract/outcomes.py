"""What a client is told of an upstream's error, by what the error means: one line for each."""

from dataclasses import dataclass

import anthropic
import openai


@dataclass(frozen=True)
class Outcome:
    # None: the upstream's own, where it is one that tells of the client's fault.
    status: int | None
    # Whether a second provider is asked.
    next: bool
    # The upstream's own words reach the client, because the client can mend it.
    own_words: bool = False

    def told(self):
        if self.own_words:
            return f"the provider's words, status {self.status or 'as it is'}"
        return f"{self.status}" if self.status != 503 else "503; clients of Anthropic 529"

    def next_told(self):
        return "asked" if self.next else "not asked: it is wrong everywhere"


OUTCOMES = {
    "bad-request": Outcome(None, next=False, own_words=True),
    "context-length": Outcome(None, next=False, own_words=True),
    "content-policy": Outcome(None, next=False, own_words=True),
    "unsupported": Outcome(None, next=True, own_words=True),
    "unauthorised": Outcome(502, next=True),
    "model-not-found": Outcome(502, next=True),
    "quota-exhausted": Outcome(502, next=True),
    "rate-limited": Outcome(429, next=True),
    "overloaded": Outcome(503, next=True),
    "server-error": Outcome(502, next=True),
    "error-in-stream": Outcome(502, next=True),
    "malformed": Outcome(502, next=True),
}

# As the SDKs map statuses.
CLASSES = {400: "BadRequestError", 403: "PermissionDeniedError", 404: "NotFoundError", 413: "RequestTooLargeError",
           422: "UnprocessableEntityError", 429: "RateLimitError"}


def exception_of(sdk, status):
    """The class that the SDK raises for a status."""
    name = CLASSES.get(status, "InternalServerError" if status >= 500 else "APIStatusError")
    return getattr(sdk, name, sdk.APIStatusError)


assert exception_of(openai, 429) is openai.RateLimitError
assert exception_of(anthropic, 400) is anthropic.BadRequestError
