"""What a client sees when something is wrong: the SDK's own exceptions, with a message that helps."""

import httpx
import llama
import openai
import pytest
from conftest import ALPHA
from gateway import ask


def error_of(response):
    """The error object of a plain HTTP answer, which has all four keys."""
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) >= {"message", "type", "param", "code"}, body
    assert response.headers["content-type"].startswith("application/json")
    return body["error"]


def post(gateway, path="/v1/chat/completions", **more):
    return httpx.post(f"{gateway.url}{path}", timeout=10, **more)


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "no-such-model")
    error = caught.value
    assert (error.code, error.type, error.param) == ("model_not_found", "invalid_request_error", "model")
    assert "`no-such-model`" in error.message
    assert error.request_id


def test_a_body_that_is_no_json(gateway):
    response = post(gateway, content=b'{"model": "tiny", ', headers={"content-type": "application/json"})
    assert response.status_code == 400
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert "JSON" in error["message"]


@pytest.mark.parametrize("body", [{"messages": []}, {"model": 7, "messages": []}, []])
def test_a_body_without_a_model_name(gateway, body):
    response = post(gateway, json=body)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_what_the_upstream_says_about_the_request_is_passed_on(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "team/tiny", response_format={"type": "nonsense"})
    assert 'response_format type must be one of "text" or "json_object"' in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(client, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "team/tiny", "Zq" * 3000, stream=stream)
    assert "exceeds the available context size" in caught.value.message


def test_a_path_that_does_not_exist(gateway):
    response = gateway.get("/v1/no/such/path")
    assert response.status_code == 404
    assert "/v1/no/such/path" in error_of(response)["message"]


def test_a_method_that_does_not_fit(gateway):
    response = gateway.get("/v1/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST, OPTIONS"
    assert "POST" in error_of(response)["message"]


@pytest.fixture(scope="module")
def guarded(start_gateway, alpha):
    """With a client key, a small body limit, and an upstream that wants a key of its own."""
    return start_gateway({
        "server": {"body_limit": "64KiB"},
        "auth": {"keys": [{"name": "team-a", "key": "sk-team-a-0123456789"}]},
        "providers": {"alpha": alpha.provider(api_key="sk-upstream-0123456789")},
        "deployments": {"tiny-a@alpha": {}},
        "routes": {"tiny": {"deployments": ["tiny-a@alpha"]}},
    })


def test_a_key_opens_the_door(guarded):
    assert ask(guarded.client(api_key="sk-team-a-0123456789"), "tiny")
    # the same key in the other usual header
    headers = {"x-api-key": "sk-team-a-0123456789"}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    assert post(guarded, json=body, headers=headers).status_code == 200


def test_a_wrong_key_is_refused_and_not_repeated(guarded):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(guarded.client(api_key="sk-wrong-0123456789"), "tiny")
    assert caught.value.code == "invalid_api_key"
    assert "sk-wrong-0123456789" not in caught.value.message
    assert "sk-wrong-0123456789" not in guarded.output()


def test_no_key_is_refused(guarded):
    response = post(guarded, json={"model": "tiny", "messages": []})
    assert response.status_code == 401
    assert error_of(response)["type"] == "invalid_request_error"
    assert guarded.get("/v1/models").status_code == 401


def test_the_body_limit(guarded):
    def post_body_of(size):
        message = b'[{"role": "user", "content": "%s"}]'
        body = b'{"model": "no-such-model", "messages": %s}' % message
        body = body.replace(b"%s", b"x" * (size - len(body) + 2))
        assert len(body) == size
        headers = {"authorization": "Bearer sk-team-a-0123456789", "content-type": "application/json"}
        return post(guarded, content=body, headers=headers)

    assert post_body_of(64 * 1024).status_code == 404
    refused = post_body_of(64 * 1024 + 1)
    assert refused.status_code == 413
    assert "server.body_limit" in error_of(refused)["message"]


def test_a_key_that_the_upstream_refuses_is_our_fault_not_the_clients(start_gateway, start_llama):
    locked = start_llama(llama.saying(ALPHA), "locked", "--api-key", "right")
    gateway = start_gateway({
        "providers": {"locked": locked.provider(api_key="wrong-0123456789")},
        "deployments": {"locked@locked": {}},
        "routes": {"tiny": {"deployments": ["locked@locked"]}},
    })
    with pytest.raises(openai.APIStatusError) as caught:
        ask(gateway.client(), "tiny")
    assert caught.value.status_code >= 500
    assert "wrong-0123456789" not in caught.value.message + gateway.output()
