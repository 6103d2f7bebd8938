"""Make a virtual environment with LangChain's own tests of chat models, for the tests in `standard`.

    python tests/integrations/langchain/standard_env.py [DIR]     # DIR defaults to .venv-standard at the root

Standard library only, since it runs before anything is installed; running it again costs nothing. An
environment of its own, because those tests bring plug-ins for pytest that change how every other test is run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEFAULT_DIR = ROOT / ".venv-standard"

# Exact where what is tested depends on it.
WANTED = ("langchain-tests==1.1.9", "langchain-openai>=1.7,<2", "hypothesis", "pytest-timeout")


def main() -> None:
    """Entry point: `standard_env.py [DIR]`."""
    directory = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else DEFAULT_DIR
    python, stamp = directory / "bin" / "python", directory / "guardreasoner-stamp"
    stated = Path(__file__).read_bytes() + (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()
    fingerprint = hashlib.sha256(stated).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint:
        return
    if not python.exists():
        venv.create(directory, with_pip=True)
    pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    subprocess.run([*pip, "--editable", f"{ROOT}[langchain]", *WANTED], check=True)
    stamp.write_text(fingerprint, encoding="utf-8")
    print(f"{python} is ready")


if __name__ == "__main__":
    main()
