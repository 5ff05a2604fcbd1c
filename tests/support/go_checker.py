"""The verifier in `tests/conformance/go`, built where Go and golang.org/x/mod are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "conformance" / "go" / "check.go"
GOPATH = Path("/usr/share/gocode")

needs_go = pytest.mark.skipif(
    shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod/sumdb").is_dir(),
    reason="Go or golang.org/x/mod is missing: apt-get install golang-go golang-golang-x-mod-dev",
)


def build_checker(folder: Path) -> Path:
    """Build the program into a folder and return its path."""
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
    }
    command = ["go", "build", "-o", str(folder / "check"), str(PROGRAM)]
    subprocess.run(command, check=True, env=environment, cwd=folder)
    return folder / "check"
