"""The IAB's own libraries in one Node process, installed from the npm registry into a folder of their own."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "conformance" / "iab"


class IabProcess:
    """Asks the process and returns its answer; `{"error": ...}` where the library refused."""

    def __init__(self, packages: Path) -> None:
        command = ["node", str(SOURCE / "iab.cjs"), str(packages)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **request}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=30)


def install(folder: Path) -> Path:
    """Install the pinned packages, or skip the test where that can not be."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node and npm are missing: the IAB's libraries run on them")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("the npm registry does not serve @iabtcf/core 1.5.6 and @iabgpp/cmpapi 3.2.0")
    return folder
