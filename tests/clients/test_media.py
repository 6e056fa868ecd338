"""Audio, images, moderations, files and batches with the official SDK, and reranking at a real llama.cpp server."""

import concurrent.futures

import httpx
import llama
import openai
import pytest
from fake_openai import SOUND, FakeOpenAI


@pytest.fixture(scope="module")
def fake():
    fake = FakeOpenAI()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def media(start_gateway, start_llama, fake):
    reranker = start_llama(llama.embedder(), "ranker", "--reranking")
    # One slot: with more, this build of llama.cpp gives some of the texts that it computes at the same time the vectors
    # of others, also when it is asked without a gateway.
    embedder = start_llama(llama.embedder(), "embed", "--embedding", "--parallel", "1")
    return start_gateway({
        "providers": {
            "fake": fake.provider(), "reranker": reranker.provider(),
            "embedder": embedder.provider(embedding_batch={"enabled": True, "window": "50ms"}),
        },
        "deployments": {
            "voice@fake": {"model": "gpt-4o-mini-tts"}, "ears@fake": {"model": "whisper-1"},
            "painter@fake": {"model": "gpt-image-1"}, "guard@fake": {"model": "omni-moderation-latest"},
            "ranker@reranker": {}, "embed@embedder": {},
        },
        "routes": {
            name: {"deployments": f"{name}@*", "policies": ["in-order"]}
            for name in ["voice", "ears", "painter", "guard", "ranker", "embed"]
        },
        "aliases": {"omni-moderation-latest": "guard"},
        "passthrough": {"provider": "fake"},
    })


@pytest.fixture(scope="module")
def sdk(media):
    return media.client()


def test_speech_comes_as_bytes_and_as_a_stream(sdk, fake):
    asked = {"model": "voice", "voice": "alloy", "input": "hello"}
    assert sdk.audio.speech.create(**asked).content == SOUND
    assert fake.seen[-1][2]["model"] == "gpt-4o-mini-tts"
    with sdk.audio.speech.with_streaming_response.create(**asked) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert b"".join(answer.iter_bytes()) == SOUND


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_recording_is_transcribed_whether_it_is_held_or_passed_on(sdk, fake, size):
    sound = ("talk.mp3", b"\r\n--" * (size // 4), "audio/mpeg")
    answer = sdk.audio.transcriptions.create(model="ears", file=sound, language="en")
    assert (answer.text, answer.usage.input_tokens) == (f"talk.mp3 {size} whisper-1", 14)
    assert fake.seen[-1][2]["language"] == "en"
    assert sdk.audio.translations.create(model="ears", file=sound).text == f"talk.mp3 {size} whisper-1"
    plain = sdk.audio.transcriptions.create(model="ears", file=sound, response_format="text")
    assert plain == f"talk.mp3 {size}\n"


def test_the_model_may_come_after_the_file(media):
    files = [("file", ("a.mp3", b"x" * 2_000_000)), ("model", (None, "ears"))]
    answer = httpx.post(f"{media.url}/v1/audio/transcriptions", files=files, timeout=30)
    assert answer.json()["text"] == "a.mp3 2000000 whisper-1"


def test_images_are_made_and_edited(sdk, fake):
    assert sdk.images.generate(model="painter", prompt="a fox").data[0].b64_json == "aW1hZ2U="
    answer = sdk.images.edit(model="painter", prompt="a red fox", image=("fox.png", b"png", "image/png"))
    assert answer.usage.output_tokens == 50
    assert fake.seen[-1][2] == {"model": "gpt-image-1", "prompt": "a red fox", "image": ("fox.png", b"png")}


def test_a_moderation_needs_no_model(sdk, fake):
    assert sdk.moderations.create(input="hello").results[0].flagged is False
    assert fake.seen[-1][2] == {"model": "omni-moderation-latest", "input": "hello"}


def test_files_and_batches_are_passed_through(sdk, fake):
    content = b'{"custom_id":"1"}\n' * 200_000
    file = sdk.files.create(file=("input.jsonl", content), purpose="batch")
    assert (file.id, file.bytes) == ("file-1", len(content))
    assert [file.id for file in sdk.files.list(purpose="batch")] == ["file-1"]
    assert sdk.files.content("file-1").read() == content
    batch = sdk.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
    assert batch.status == "validating"
    assert sdk.files.delete("file-1").deleted
    with pytest.raises(openai.NotFoundError):
        sdk.fine_tuning.jobs.retrieve("ftjob-1")
    assert fake.seen[-1][:2] == ("GET", "/v1/fine_tuning/jobs/ftjob-1")


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_a_real_server_ranks(media, path):
    asked = {"model": "ranker", "query": "fast fox", "documents": ["tax report", "the fast fox", "x"], "top_n": 2}
    answer = httpx.post(f"{media.url}{path}", json=asked, timeout=30)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == 2 and all({"index", "relevance_score"} <= set(result) for result in results)
    assert answer.headers["x-witgate-deployment"] == "ranker@reranker"


def test_embeddings_that_are_asked_for_together_are_those_asked_for_alone(sdk, media):
    texts = [f"the fast brown fox number {number}" for number in range(16)]
    alone = [sdk.embeddings.create(model="embed", input=text).data[0].embedding for text in texts]

    def ask(text):
        answer = sdk.embeddings.with_raw_response.create(model="embed", input=text)
        return answer.parse().data[0].embedding, int(answer.headers.get("x-witgate-batched", 1))

    batched = 0
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(10):
            together = list(pool.map(ask, texts))
            for (embedding, _), expected in zip(together, alone):
                assert embedding == pytest.approx(expected, abs=1e-4)
            batched = max(batched, *(size for _, size in together))
    assert batched > 1
