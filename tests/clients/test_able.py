"""What a client sees when no model is able of what it asks: the SDK's own exceptions, as with OpenAI, and at once.

Nobody listens where the models are said to be: a request that was sent would fail with status 502.
"""

import anthropic
import openai
import pytest
from gateway import ask, command_line
from processes import free_port

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def unasked(start_gateway):
    models = ["gpt-4-0314", "gpt-4o", "text-embedding-3-small"]
    return start_gateway({
        "providers": {"openai": {"preset": "openai", "api_key": "sk", "base_url": f"http://127.0.0.1:{free_port()}/v1"}},
        "deployments": {f"{model}@openai": {} for model in models},
        "routes": {model: {"deployments": [f"{model}@openai"], "policies": ["in-order"]} for model in models},
    })


def refused(kind, call, *arguments, **more):
    with pytest.raises(kind) as caught:
        call(*arguments, **more)
    assert caught.value.request_id
    return caught.value.code, caught.value.param, caught.value.message


def test_an_image_to_a_text_model(unasked):
    content = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    code, param, message = refused(openai.BadRequestError, ask, unasked.client(), "gpt-4-0314", content)
    assert (code, param) == (None, "messages.[0].content.[1].type")
    assert "Invalid content type. image_url is only supported by certain models." in message


def test_tools_to_a_model_without(unasked):
    code, param, message = refused(openai.BadRequestError, ask, unasked.client(), "gpt-4-0314", tools=[TOOL])
    assert (code, param) == (None, None)
    assert "tools is not supported in this model. For a list of supported models, refer to" in message


def test_a_json_schema_to_a_model_without(unasked):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    _, _, message = refused(openai.BadRequestError, ask, unasked.client(), "gpt-4-0314", response_format=schema)
    assert "'response_format' of type 'json_schema' is not supported with this model" in message


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(unasked, stream):
    code, param, message = refused(
        openai.BadRequestError, ask, unasked.client(), "gpt-4-0314", "word " * 8193, stream=stream)
    assert (code, param) == ("context_length_exceeded", "messages")
    assert "This model's maximum context length is 8192 tokens." in message


def test_a_longest_answer_that_leaves_no_room(unasked):
    code, _, message = refused(
        openai.BadRequestError, ask, unasked.client(), "gpt-4-0314", "word " * 4000, max_tokens=4193)
    assert code == "context_length_exceeded"
    assert "(4000 in the messages, 4193 in the completion)" in message


def test_a_chat_with_a_model_that_embeds(unasked):
    _, param, message = refused(openai.NotFoundError, ask, unasked.client(), "text-embedding-3-small")
    assert param == "model" and "This is not a chat model" in message


def test_embeddings_by_a_model_that_chats(unasked):
    _, _, message = refused(
        openai.PermissionDeniedError, unasked.client().embeddings.create, model="gpt-4o", input="hi")
    assert "You are not allowed to generate embeddings from this model" in message


def test_what_may_fit_is_sent(unasked):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(unasked.client(), "gpt-4-0314", "word " * 8192)
    assert caught.value.status_code == 502


def test_anthropic_s_sdk_is_told_in_its_own_words(unasked):
    with pytest.raises(anthropic.BadRequestError) as caught:
        unasked.anthropic().messages.create(
            model="gpt-4-0314", max_tokens=1, messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert caught.value.body["error"]["message"].startswith("prompt is too long: at least 9001 tokens > 8192 maximum")


def test_what_a_model_is_known_for_is_shown():
    told = command_line("models", "gpt-4-0314")
    assert told.returncode == 0 and "openai/gpt-4-0314" in told.stdout
