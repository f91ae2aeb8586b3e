"""How training is started and read in these tests."""
import sys

from reidlab.runs.folder import RunFolder
from tests.conftest import MINI


def rows(folder):
    """The log without the one thing that may differ."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in RunFolder(folder).rows()]


def command(folder, name="corrected", **changes):
    fields = {**MINI, **{k.replace("__", "."): v for k, v in changes.items()}}
    return [sys.executable, "-m", "reidlab", "train", name, "--run", str(folder),
            *(f"--set={k}={v}" for k, v in fields.items())]
