"""What all contract tests share: the services, the gateway in front of them, and the record of what has passed."""

import ollama
import pytest
from contract import services as known
from contract.fake import CLIENT_KEY
from contract.table import Record


@pytest.fixture(scope="session")
def services(start_llama, logs):
    running = known.start(start_llama, logs)
    yield running
    for service in running.values():
        service.stop()


@pytest.fixture(scope="session")
def contract_gateway(start_gateway, services, alpha):
    return start_gateway(known.configuration(services, alpha))


@pytest.fixture
def service(services, request):
    """The service that the test is about."""
    return services[request.param]


@pytest.fixture(scope="session")
def gpt(contract_gateway):
    return contract_gateway.client(api_key=CLIENT_KEY)


@pytest.fixture(scope="session")
def claude(contract_gateway):
    return contract_gateway.anthropic(api_key=CLIENT_KEY)


@pytest.fixture(scope="session")
def llamas(contract_gateway):
    """Ollama's client, which sends its key as a bearer's."""
    return ollama.Client(host=contract_gateway.url, headers={"authorization": f"Bearer {CLIENT_KEY}"})


def pytest_configure(config):
    config.addinivalue_line("markers", "cell(name): a column of docs/compatibility.md, filled by the test")
    config.stash[RECORD] = Record()


def pytest_collection_modifyitems(items):
    """The published table is compared when everything else has run."""
    items.sort(key=lambda item: item.name == LAST)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when != "call":
        return
    mark, record = item.get_closest_marker("cell"), item.config.stash[RECORD]
    if mark:
        case = item.callspec.params
        record.ran(case["service"], mark.args[0], case.get("error"), report.outcome, dict(item.user_properties).get("cell"))
    elif item.path.stem == "test_contract_quirks" and not hasattr(item, "callspec") and report.passed:
        record.quirks.append(item.name)


@pytest.fixture
def record(request):
    return request.config.stash[RECORD]


LAST = "test_the_published_table_is_what_passed"
RECORD = pytest.StashKey()
