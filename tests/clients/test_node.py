"""OpenAI's official client for Node: the tests are in `node/`, and each of them is one here."""

import os
import shutil
import subprocess

import pytest
from conftest import ALPHA
from processes import REPOSITORY

PACKAGES = REPOSITORY / "target" / "npm-clients" / "node_modules"
TESTS = REPOSITORY / "tests" / "clients" / "node" / "openai.test.mjs"


@pytest.fixture(scope="module")
def beside_its_packages(tmp_path_factory):
    """Node finds packages from where a module is."""
    assert PACKAGES.is_dir(), "run `tests/scripts/setup.sh clients`: it installs the packages"
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(PACKAGES)
    return shutil.copy(TESTS, folder)


def test_the_official_node_client(start_gateway, start_llama, alpha, bravo, beside_its_packages):
    import llama

    embedder = start_llama(llama.embedder(), "embed", "--embedding")
    in_order = {"policies": ["in-order"]}
    gateway = start_gateway({
        "providers": {
            "alpha": alpha.provider(responses=True), "old": alpha.provider(responses=False),
            "bravo": bravo.provider(), "embedder": embedder.provider(),
        },
        "deployments": {"tiny-a@alpha": {}, "tiny-a@old": {}, "tiny-b@bravo": {}, "embed@embedder": {}},
        "routes": {
            "tiny": {"deployments": ["tiny-a@alpha"], **in_order},
            "passed": {"deployments": ["tiny-a@alpha"], **in_order},
            "translated": {"deployments": ["tiny-a@old"], **in_order},
            "team/tiny": {"deployments": ["tiny-b@bravo"], **in_order},
            "embed": {"deployments": ["embed@embedder"], **in_order},
        },
    })
    environment = {**os.environ, "WITGATE_URL": gateway.url, "ANSWER": ALPHA}
    run = subprocess.run(["node", "--test", "--test-reporter=tap", beside_its_packages],
                         env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# fail 0" in run.stdout
    passed = int(run.stdout.rsplit("# pass ", 1)[1].split()[0])
    assert passed == TESTS.read_text().count("\ntest(") + 2 * TESTS.read_text().count("\n  test("), run.stdout
