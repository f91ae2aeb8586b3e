"""Versions, commit and time: what a number needs to be believed later."""
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "accelerate", "numpy", "scikit-learn")


def provenance() -> dict:
    """Versions, commit and time: what a number needs to be believed later."""
    found = {}
    for name in ("reidlab", *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {"versions": found | {"python": platform.python_version()}, "commit": commit(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def commit() -> str:
    """Short id of the checkout this package stands in, ``+`` when it was changed; else unknown."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():  # installed: a repository further up is somebody else's
        return "unknown"
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here,
                              capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=here,
                               capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
