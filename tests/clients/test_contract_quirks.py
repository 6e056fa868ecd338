"""What only one provider does, each by itself: it must get through, and the gateway must not stumble over it."""

import re

import httpx
import pytest
from contract.fake import CLIENT_KEY
from contract.said import by_chunks, by_message
from processes import eventually

QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]


def raw_stream(gateway, model):
    body = {"model": model, "messages": QUESTION, "stream": True}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {CLIENT_KEY}"}, timeout=30).text


def chunks(gpt, model, **more):
    return list(gpt.chat.completions.create(model=model, messages=QUESTION, stream=True, **more))


@pytest.fixture
def asking(services):
    """The stand-in of a provider, answering with one case of its file."""
    def ask(name, case):
        service = services[name]
        if service.how != "published":
            pytest.skip(f"{name} is a real service this time")
        return service.asked(case)
    return ask


def test_azure_says_first_what_its_filters_found(asking, gpt, claude):
    with asking("azure", "chat_stream"):
        first, second, *_ = chunks(gpt, "azure")
    assert (first.choices, first.id) == ([], "")
    assert first.prompt_filter_results[0]["content_filter_results"]["violence"]["severity"] == "safe"
    assert second.choices[0].delta.role == "assistant"
    with asking("azure", "chat_stream"), claude.messages.stream(model="azure", max_tokens=64, messages=QUESTION) as events:
        assert events.get_final_text() == "Hello from Azure."


def test_mistral_thinks_in_parts_of_the_content(asking, gpt, claude):
    with asking("mistral", "thinking"):
        content = gpt.chat.completions.create(model="mistral", messages=QUESTION).choices[0].message.content
    assert [part["type"] for part in content] == ["thinking", "text"]
    with asking("mistral", "thinking"):
        said = by_message(claude.messages.create(model="mistral", max_tokens=64, messages=QUESTION))
    assert (said.thought, said.text) == ("A greeting is wanted.", "Hello from Mistral.")
    with asking("mistral", "thinking_stream"), claude.messages.stream(model="mistral", max_tokens=64, messages=QUESTION) as events:
        said = by_message(events.get_final_message())
    assert (said.thought, said.text, said.tokens_out) == ("A greeting is wanted.", "Hello from Mistral.", 37)


def test_mistral_is_not_asked_for_usage_which_it_refuses(asking, claude):
    with asking("mistral", "chat_stream") as seen:
        with claude.messages.stream(model="mistral", max_tokens=64, messages=QUESTION) as events:
            assert events.get_final_message().usage.output_tokens == 34
    assert "stream_options" not in seen[0]


def test_deepseek_gives_signs_of_life(asking, gpt, contract_gateway):
    """Empty lines before an answer are no harm; a comment in a stream must not be followed by an empty line, which some
    clients take for an event."""
    with asking("deepseek", "chat"):
        assert gpt.chat.completions.create(model="deepseek", messages=QUESTION).choices[0].message.content == "Hello from DeepSeek."
    with asking("deepseek", "chat_stream"):
        text = raw_stream(contract_gateway, "deepseek")
    assert ": keep-alive\ndata:" in text
    assert ": keep-alive\n\n" not in text


def test_deepseek_reasons_beside_the_content(asking, gpt, claude):
    with asking("deepseek", "chat"):
        message = gpt.chat.completions.create(model="deepseek", messages=QUESTION).choices[0].message
    assert message.reasoning_content == "A greeting is wanted."
    with asking("deepseek", "chat"):
        said = by_message(claude.messages.create(model="deepseek", max_tokens=64, messages=QUESTION))
    assert (said.thought, said.tokens_in, said.tokens_cached) == ("A greeting is wanted.", 16, 12)


def test_groq_says_its_usage_in_a_field_of_its_own(asking, gpt):
    with asking("groq", "chat_stream"):
        *_, last = chunks(gpt, "groq")
    assert last.x_groq["usage"]["completion_tokens"] == 439
    with asking("groq", "chat_stream"):
        *_, last = chunks(gpt, "groq", stream_options={"include_usage": True})
    assert (last.choices, last.usage.completion_tokens) == ([], 439)


def test_openrouter_comments_while_it_works(asking, gpt, contract_gateway):
    with asking("openrouter", "chat_stream"):
        said = by_chunks(chunks(gpt, "openrouter"))
    assert (said.text, said.tokens_out) == ("Hello from OpenRouter.", 6)
    with asking("openrouter", "chat_stream"):
        text = raw_stream(contract_gateway, "openrouter")
    assert ": OPENROUTER PROCESSING\n\n" not in text


def test_gemini_signs_its_calls_and_gets_the_signature_back(asking, gpt):
    with asking("gemini", "tools"):
        message = gpt.chat.completions.create(model="gemini", messages=QUESTION).choices[0].message
    [call] = message.tool_calls
    assert call.extra_content == {"google": {"thought_signature": "CrIBAdHtim9FJ2eZ"}}
    told = [*QUESTION, message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    with asking("gemini", "chat") as seen:
        gpt.chat.completions.create(model="gemini", messages=told)
    assert seen[0]["messages"] == told


def test_together_has_numbers_that_a_float_would_spoil(asking, contract_gateway):
    with asking("together", "chat_stream"):
        assert '"seed":17034892471023471234' in raw_stream(contract_gateway, "together")


def test_sglang_s_errors_get_the_envelope_that_sdks_look_for(asking, contract_gateway):
    with asking("sglang", "bad_request"):
        answer = httpx.post(f"{contract_gateway.url}/v1/chat/completions", json={"model": "sglang", "messages": QUESTION}, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"] == {"message": "Messages cannot be empty.", "type": "BadRequestError", "param": None, "code": "400"}


@pytest.mark.parametrize("name, case, tokens", [
    ("groq", "chat_stream", (18, 439, 0)), ("deepseek", "chat_stream", None), ("deepseek", "chat", (16, 10, 12)),
    ("mistral", "chat_stream", (16, 34, 0)), ("openrouter", "chat_stream", (14, 6, 0)), ("gemini", "chat_stream", (12, 9, 0)),
    ("together", "chat_stream", (31, 12, 0)), ("huggingface", "chat_stream", (74, 22, 0)),
])
def test_tokens_are_counted_as_the_provider_counts_them(asking, gpt, contract_gateway, name, case, tokens):
    """Also where the client did not ask for them, because they are paid for all the same."""
    before = counted(contract_gateway, name)
    with asking(name, case):
        if case == "chat":
            gpt.chat.completions.create(model=name, messages=QUESTION)
        else:
            chunks(gpt, name)
    if tokens is None:
        # It counts only when asked; then the gateway counts what it saw.
        eventually("something was counted", lambda: counted(contract_gateway, name) != before)
        return

    def difference():
        return tuple(now - then for now, then in zip(counted(contract_gateway, name), before))

    eventually(f"{tokens} were counted, not {difference()}", lambda: difference() == tokens, within=3)


def counted(gateway, name):
    """Tokens in, out and cached, since the gateway has started."""
    text = gateway.get("/metrics").text
    found = (re.search(rf'witgate_tokens_total{{deployment="chat@{name}",direction="{way}"}} (\d+)', text) for way in ("in", "out", "cached"))
    return tuple(int(match.group(1)) if match else 0 for match in found)
