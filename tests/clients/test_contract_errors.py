"""What clients are told of a provider's errors, and whether somebody else is asked instead."""

import anthropic
import httpx
import openai
import pytest
import yaml
from conftest import ALPHA
from contract import services as known
from contract.fake import CLIENT_KEY, is_stream
from contract.outcomes import OUTCOMES, exception_of
from processes import eventually

QUESTION = [{"role": "user", "content": "hi"}]


def cases(stream=False):
    """Each error of each service; those inside a stream apart."""
    found = []
    for name in known.NAMES:
        found += [(name, error) for error, case in known.errors_of(name).items() if is_stream(case) == stream]
    return pytest.mark.parametrize("service, error", found, indirect=["service"])


def asking(service, error):
    """Nothing to see when the service is live and the error is one that is not provoked."""
    if error not in service.errors:
        pytest.skip("not provoked")
    return service.asked(error)


def means(service, error):
    case = service.errors[error]
    return case, OUTCOMES[case["means"]]


def question(service, error):
    """A real server must be given a reason."""
    if service.how == "real" and error == "too_long":
        return {"messages": [{"role": "user", "content": "Zq" * 4000}]}
    if service.how == "real" and error == "bad_request":
        return {"messages": [{"role": "nobody", "content": "hi"}]} if service.name == known.LLAMA_PYTHON else {
            "messages": QUESTION, "extra_body": {"tools": [{"type": "nonsense"}]}}
    return {"messages": QUESTION}


def told_status(outcome, case):
    """An error of the client's that came as 500 is told as what it is."""
    own = case.get("status", 400)
    return outcome.status or (own if own < 500 else 400)


@pytest.mark.cell("error")
@cases()
def test_an_error_is_told_to_a_client_of_openai(service, error, gpt):
    with asking(service, error), pytest.raises(openai.APIStatusError) as caught:
        gpt.chat.completions.create(model=f"{service.name}/{error}", **question(service, error))
    case, outcome = means(service, error)
    told = caught.value
    assert type(told) is exception_of(openai, told.status_code)
    assert told.status_code == told_status(outcome, case)
    assert told.body["message"] and told.message
    if not outcome.own_words:
        assert told.code == case["means"]
        assert CLIENT_KEY not in told.message
    elif service.how == "published":
        assert words_of(case) in told.message
    pause(told.response, case)


@pytest.mark.cell("error, messages")
@cases()
def test_an_error_is_told_to_a_client_of_anthropic(service, error, claude):
    with asking(service, error), pytest.raises(anthropic.APIStatusError) as caught:
        claude.messages.create(model=f"{service.name}/{error}", max_tokens=64, **question(service, error))
    case, outcome = means(service, error)
    told = caught.value
    expected = 529 if case["means"] == "overloaded" else told_status(outcome, case)
    assert told.status_code == expected
    body = told.response.json()
    assert body["type"] == "error" and set(body["error"]) >= {"type", "message"}
    if outcome.own_words and service.how == "published":
        assert words_of(case) in body["error"]["message"]
    pause(told.response, case)


@pytest.mark.cell("failover")
@cases()
def test_a_second_provider_is_asked_where_that_helps(service, error, gpt):
    case, outcome = means(service, error) if error in service.errors else (None, None)
    with asking(service, error):
        ask = gpt.chat.completions.with_raw_response.create
        model = f"{service.name}/{error}/backup"
        if not outcome.next:
            with pytest.raises(openai.APIStatusError) as caught:
                ask(model=model, **question(service, error))
            assert caught.value.status_code == told_status(outcome, case)
            return
        answer = ask(model=model, **question(service, error))
    assert answer.parse().choices[0].message.content == ALPHA
    assert answer.headers["x-witgate-attempts"] == "2"
    assert answer.headers["x-witgate-deployment"] == "tiny-a@backup"


@cases()
def test_an_error_is_counted_as_what_it_means(service, error, gpt, contract_gateway):
    """A policy sees the same: it sends a prompt that is too long to a larger model, and a wrong one nowhere."""
    with asking(service, error), pytest.raises(openai.APIStatusError):
        gpt.chat.completions.create(model=f"{service.name}/{error}", **question(service, error))
    case, _ = means(service, error)
    line = f'witgate_attempts_total{{deployment="chat@{service.name}-{error}",outcome="{case["means"]}"}}'
    eventually(line, lambda: line in contract_gateway.get("/metrics").text, within=3)


def words_of(case):
    """The provider's own message, as far as a client would look for it."""
    body = yaml.safe_load(case["body"])
    body = body[0] if isinstance(body, list) else body
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error) if isinstance(error, dict) else error
    return message.split("\n")[0] if isinstance(message, str) else "Extra inputs are not permitted"


def pause(response, case):
    """How long to wait, in whole seconds and where the SDK looks."""
    if "retry_after" in case:
        assert response.headers["retry-after"] == str(case["retry_after"])
        assert response.headers["x-should-retry"] == ("true" if case["retry_after"] <= 60 else "false")
    for name, value in case.get("headers", {}).items():
        if name.startswith("x-ratelimit-"):
            assert response.headers[name] == str(value)


# Errors inside a stream


@cases(stream=True)
def test_an_error_in_a_stream(service, error, gpt, contract_gateway):
    """Before the first word somebody else is asked; after it the client is told, and no `[DONE]` pretends an end."""
    case, _ = means(service, error)
    ask = {"messages": QUESTION, "stream": True}
    with asking(service, error):
        if not case.get("after_text"):
            chunks = list(gpt.chat.completions.create(model=f"{service.name}/{error}/backup", **ask))
            assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == ALPHA
            return
        heard = ""
        with pytest.raises(openai.APIError):
            for chunk in gpt.chat.completions.create(model=f"{service.name}/{error}/backup", **ask):
                heard += chunk.choices[0].delta.content or ""
        assert heard == case["after_text"]
        text = httpx.post(f"{contract_gateway.url}/v1/chat/completions", json={"model": f"{service.name}/{error}", **ask}, timeout=30).text
    assert "[DONE]" not in text and '"error"' in text
