"""Real servers and a real gateway for every test; nothing here is a mock."""

import pathlib

import llama
import pytest
from gateway import Gateway

pytest_plugins = ["contract.plugin"]

ALPHA = "Alpha server speaking now"
BRAVO = "Bravo machine answers instead"


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def start_llama(logs):
    """Starts a llama.cpp server: `start_llama(file, alias, *options)`. All are stopped at the end."""
    started = []

    def start(file, alias, *options):
        started.append(llama.LlamaServer(file, alias, logs, *options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def alpha(start_llama):
    return start_llama(llama.saying(ALPHA), "tiny-a")


@pytest.fixture(scope="session")
def bravo(start_llama):
    return start_llama(llama.saying(BRAVO), "tiny-b")


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory):
    """Starts a gateway: `start_gateway(config)`. All are stopped at the end."""
    started = []

    def start(config):
        started.append(Gateway(pathlib.Path(tmp_path_factory.mktemp("gateway")), config))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="session")
def gateway(start_gateway, start_llama, alpha, bravo):
    """What most tests share: two chat servers and one for embeddings."""
    embedder = start_llama(llama.embedder(), "embed", "--embedding")
    return start_gateway({
        "providers": {"alpha": alpha.provider(), "bravo": bravo.provider(), "embedder": embedder.provider()},
        "deployments": {"tiny-a@alpha": {}, "tiny-b@bravo": {}, "embed@embedder": {"capabilities": ["embeddings"]}},
        "routes": {
            "tiny": {"deployments": ["tiny-a@alpha", "tiny-b@bravo"], "policies": ["in-order"]},
            "team/tiny": {"deployments": ["tiny-b@bravo"], "policies": ["in-order"]},
            "cached": {"deployments": ["tiny-a@alpha"], "policies": ["in-order"], "cache": {"ttl": "1m"}},
            "embed": {"deployments": ["embed@embedder"], "policies": ["in-order"]},
        },
    })


@pytest.fixture
def client(gateway):
    return gateway.client()
