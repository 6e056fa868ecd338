"""LangChain's own client, `langchain-openai`, which reads more of an answer than the SDK below it."""

import openai
import pytest
from conftest import ALPHA
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from test_chat import QUESTION

ASKED = QUESTION[0]["content"]
WORDS = len(ALPHA.split())


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


@pytest.fixture
def chat(gateway):
    def of(model="tiny", **more):
        settings = {"api_key": "unused", "temperature": 0, "max_retries": 0, "timeout": 30, **more}
        return ChatOpenAI(model=model, base_url=f"{gateway.url}/v1", **settings)

    return of


def test_a_chat(chat):
    answer = chat().invoke(ASKED)
    assert (answer.content, answer.response_metadata["finish_reason"]) == (ALPHA, "stop")
    assert answer.usage_metadata["output_tokens"] == WORDS + 1
    assert answer.response_metadata["model_name"] == "tiny-a"


def test_a_streamed_chat_with_its_usage(chat):
    chunks = list(chat(stream_usage=True).stream(ASKED))
    assert "".join(chunk.content for chunk in chunks) == ALPHA
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    whole = sum(chunks[1:], chunks[0])
    assert whole.usage_metadata["output_tokens"] == WORDS + 1


@pytest.mark.parametrize("responses", [False, True])
def test_a_tool_is_called_and_its_result_is_answered(chat, responses):
    model = chat(use_responses_api=responses).bind_tools([get_weather])
    asked = [("user", ASKED)]
    answer = model.invoke(asked)
    [call] = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    result = get_weather.invoke(call)
    assert result.content == "rain in Paris"
    assert model.invoke([*asked, answer, result]).text == ALPHA


@pytest.mark.parametrize("responses", [False, True])
def test_a_streamed_tool_call(chat, responses):
    chunks = list(chat(use_responses_api=responses).bind_tools([get_weather]).stream(ASKED))
    whole = sum(chunks[1:], chunks[0])
    [call] = whole.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


def test_a_response_in_place_of_a_chat(chat):
    model = chat(use_responses_api=True)
    assert model.invoke(ASKED).text == ALPHA
    assert "".join(chunk.text for chunk in model.stream(ASKED)) == ALPHA


def test_embeddings(gateway):
    # It would count tokens with a tokeniser that it fetches from the network.
    model = OpenAIEmbeddings(model="embed", base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0,
                             check_embedding_ctx_length=False)
    fox, taxes = model.embed_documents(["a fast brown fox", "quarterly tax report"])
    assert len(fox) == 128 and fox != taxes
    assert model.embed_query("a fast brown fox") == pytest.approx(fox, abs=1e-6)


def test_errors(chat):
    with pytest.raises(openai.NotFoundError) as caught:
        chat("no-such-model").invoke(ASKED)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        chat("team/tiny").invoke("Zq" * 3000)
