"""The other endpoints: completions, embeddings, models."""

import httpx
import openai
import pytest
from conftest import ALPHA


def test_a_completion(client):
    answer = client.completions.create(model="tiny", prompt="Once", max_tokens=3, temperature=0)
    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion", "Alpha server speaking", "length")


def test_a_streamed_completion(client):
    chunks = client.completions.create(model="tiny", prompt="Once", temperature=0, stream=True)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == ALPHA


def test_embeddings_of_several_texts(client):
    texts = ["a fast brown fox", "the fast brown fox", "quarterly tax report"]
    answer = client.embeddings.create(model="embed", input=texts)
    assert [item.index for item in answer.data] == [0, 1, 2]
    fox, same_fox, taxes = (item.embedding for item in answer.data)
    assert len(fox) == 128
    assert dot(fox, same_fox) > dot(fox, taxes)
    assert answer.usage.prompt_tokens > 0


def test_embeddings_as_plain_numbers_and_as_base64_are_the_same(client):
    plain = client.embeddings.create(model="embed", input="fox", encoding_format="float").data[0].embedding
    # the SDK asks for base64 when nothing is said, and decodes it
    assert client.embeddings.create(model="embed", input="fox").data[0].embedding == pytest.approx(plain, abs=1e-6)


def dot(left, right):
    return sum(a * b for a, b in zip(left, right))


def test_the_models_are_what_a_client_may_ask_for(client):
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"tiny", "team/tiny", "cached", "embed"}
    assert {model.object for model in models.values()} == {"model"}


@pytest.mark.parametrize("name", ["tiny", "team/tiny"])
def test_one_model_can_be_looked_up(gateway, client, name):
    assert client.models.retrieve(name).id == name
    # some clients do not escape the slash
    assert gateway.get(f"/v1/models/{name}").json()["id"] == name


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_every_path_works_with_and_without_v1(gateway, prefix):
    assert gateway.get(f"{prefix}/models").status_code == 200
    assert gateway.get(f"{prefix}/models/tiny").json()["id"] == "tiny"

    def post(path, body):
        answer = httpx.post(f"{gateway.url}{prefix}{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text

    post("/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]})
    post("/completions", {"model": "tiny", "prompt": "hi"})
    post("/embeddings", {"model": "embed", "input": "hi"})
