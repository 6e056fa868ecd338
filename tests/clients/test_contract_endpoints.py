"""The other endpoints of OpenAI's dialect at each provider: those that are routed by model, and those that are passed through.

A provider that does not have one is not asked, and the client is told so.
"""

import json

import httpx
import openai
import pytest
from contract.fake import CLIENT_KEY
from contract.services import name_of, passing
from test_contract import documented, every_service, plain, refused

SOUND = ("talk.wav", b"RIFF....WAVEfmt ", "audio/wav")
LINES = ("batch.jsonl", b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}\n')
RANKED = {"query": "What is the capital of France?", "documents": ["The capital of Brazil is Brasilia.", "The capital of France is Paris."]}


def asked(service, case, record_property, gpt, ask, read=plain):
    """What the SDK reads through the gateway, which must be what it reads without; nothing where the provider lacks it."""
    if refused(service, case, record_property, gpt, ask):
        return None
    record_property("cell", "yes")
    with service.asked(case) as seen:
        through = read(ask(gpt, name_of(service, case)))
        if service.how == "published":
            assert through == read(ask(service.direct(), service.model_of(case)))
            assert seen[0] == seen[1], "the gateway sends what the client sent"
    return through


@pytest.mark.cell("rerank")
@every_service
def test_a_rerank(service, gpt, record_property):
    """OpenAI has none, so its SDK has none: the client is a plain one. SGLang's list becomes what all others answer."""
    def ask(client, model):
        return client.post("/rerank", body={"model": model, **RANKED}, cast_to=httpx.Response)

    def ranks(answer):
        told = answer.json()
        if isinstance(told, list):
            record_property("cell", "translated")
            return [(result["index"], result["score"], {"text": result["document"]}) for result in told]
        return [(result["index"], result["relevance_score"], result.get("document")) for result in told["results"]]

    ranked = asked(service, "rerank", record_property, gpt, ask, read=ranks)
    assert ranked is None or len(ranked) == 2
    if ranked and service.how == "published" and isinstance(json.loads(service.published.answers["rerank"]["body"]), dict):
        with service.asked("rerank"):
            assert ask(gpt, name_of(service, "rerank")).text == service.published.answers["rerank"]["body"]


@pytest.mark.cell("moderations")
@every_service
def test_a_moderation(service, gpt, record_property):
    answer = asked(service, "moderations", record_property, gpt, lambda client, model: client.moderations.create(model=model, input="hello"))
    assert answer is None or answer["results"][0]["categories"]


@pytest.mark.cell("images")
@every_service
def test_an_image(service, gpt, record_property):
    answer = asked(service, "images", record_property, gpt, lambda client, model: client.images.generate(model=model, prompt="a fox"))
    assert answer is None or answer["data"][0]["b64_json"]


@pytest.mark.cell("images, stream")
@every_service
def test_a_streamed_image(service, gpt, record_property):
    def ask(client, model):
        return list(client.images.generate(model=model, prompt="a fox", stream=True, partial_images=1))

    events = asked(service, "images_stream", record_property, gpt, ask)
    assert events is None or events[-1]["type"] == "image_generation.completed"


@pytest.mark.cell("speech")
@every_service
def test_speech(service, gpt, record_property):
    def ask(client, model):
        return client.audio.speech.create(model=model, voice="alloy", input="hello")

    sound = asked(service, "speech", record_property, gpt, ask, read=lambda answer: (answer.content, answer.response.headers["content-type"]))
    if sound is not None and sound[1] == "application/json":
        # Mistral's
        record_property("cell", "own shape")
    assert sound is None or sound[0]


@pytest.mark.cell("transcription")
@every_service
def test_a_transcription(service, gpt, record_property):
    answer = asked(service, "transcription", record_property, gpt,
                   lambda client, model: client.audio.transcriptions.create(model=model, file=SOUND))
    assert answer is None or answer["text"]


@pytest.mark.cell("transcription, stream")
@every_service
def test_a_streamed_transcription(service, gpt, record_property):
    def ask(client, model):
        return list(client.audio.transcriptions.create(model=model, file=SOUND, stream=True))

    events = asked(service, "transcription_stream", record_property, gpt, ask)
    if events is not None and events[-1].get("type") != "transcript.text.done":
        # Mistral's events, vLLM's chunks
        record_property("cell", "own shape")
        assert events[-1].get("type") == "transcription.done" or events[-1]["choices"][0]["finish_reason"] == "stop"


# What is passed through


@pytest.fixture
def through(service, start_gateway):
    """A gateway that passes other paths on to the service."""
    started = []

    def start():
        started.append(start_gateway(passing(service)))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


@pytest.mark.cell("files")
@every_service
def test_files(service, through, record_property):
    if not documented(service, "files_list", record_property):
        pytest.skip(f"{service.title} does not document it")
    client = through().client(api_key=CLIENT_KEY)
    with service.asked("files_list"):
        assert plain(client.files.list()) == plain(service.direct().files.list())
    if not service.has("files"):
        # Together takes them in another way than OpenAI.
        record_property("cell", "listed")
        return
    record_property("cell", "yes")
    with service.asked("files") as seen:
        file = plain(client.files.create(file=LINES, purpose="batch"))
        assert file == plain(service.direct().files.create(file=LINES, purpose="batch"))
    assert file["id"] and seen[0] == seen[1] == {"purpose": "batch", "file": LINES}


@pytest.mark.cell("batches")
@every_service
def test_batches(service, through, record_property):
    if not documented(service, "batches", record_property):
        pytest.skip(f"{service.title} does not document it")
    client, asked = through().client(api_key=CLIENT_KEY), {
        "input_file_id": "file-abc123", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with service.asked("batches") as seen:
        batch = plain(client.batches.create(**asked))
        assert batch == plain(service.direct().batches.create(**asked))
    assert seen[0] == seen[1] == asked


@pytest.mark.cell("message batches")
@every_service
def test_message_batches(service, through, record_property):
    if not documented(service, "message_batches", record_property):
        pytest.skip(f"{service.title} does not document it")
    params = {"model": service.model, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
    requests = [{"custom_id": "one", "params": params}]
    client = through().anthropic(api_key=CLIENT_KEY)
    with service.asked("message_batches") as seen:
        batch = plain(client.messages.batches.create(requests=requests))
        assert batch == plain(service.direct().messages.batches.create(requests=requests))
    assert batch["processing_status"] == "in_progress" and seen[0] == seen[1] == {"requests": requests}


def test_a_path_that_leads_nowhere_is_not_found(gpt):
    """Without `passthrough`, which names the provider, nobody is asked."""
    with pytest.raises(openai.NotFoundError) as caught:
        gpt.files.list()
    assert "passthrough" in caught.value.message
