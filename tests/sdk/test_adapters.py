"""How `Guard.wrap` finds the adapter of a client library: by an entry point, through what is installed."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on the path with a client library, a library built on it, and an adapter that is installed."""
    (tmp_path / "theirclient.py").write_text("class Client:\n    pass\n", encoding="utf-8")
    (tmp_path / "otherlibrary.py").write_text(
        "from theirclient import Client\nclass Special(Client):\n    pass\n", encoding="utf-8"
    )
    (tmp_path / "ouradapter.py").write_text(
        "def wrap(guard, client):\n    return ('guarded', type(client).__name__)\n", encoding="utf-8"
    )
    info = tmp_path / "ouradapter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ouradapter\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[guardreasoner.adapters]\ntheirclient = ouradapter:wrap\n", encoding="utf-8"
    )
    return tmp_path


def wrapped(site: Path, client: str) -> str:
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
from guardreasoner_sdk import Guard, Screener
from guardreasoner_sdk.testing import FakeClassifier
import otherlibrary, theirclient
print(Guard(judge=Screener(FakeClassifier({{}}))).wrap({client}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_a_client_goes_to_the_adapter_that_names_its_package(site: Path) -> None:
    assert wrapped(site, "theirclient.Client()") == "('guarded', 'Client')"


def test_so_does_what_another_library_derives_from_it(site: Path) -> None:
    assert wrapped(site, "otherlibrary.Special()") == "('guarded', 'Special')"


def test_a_client_that_no_adapter_knows_is_an_error(site: Path) -> None:
    assert "ConfigError: cannot wrap a object" in wrapped(site, "object()")
