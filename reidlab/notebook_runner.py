"""Runs a notebook without a browser and shows what it says as it comes."""
import os
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import usable, write_whole
from reidlab.notebook_store import stored


class _Shown(NotebookClient):
    """Prints a notebook's text as it comes; tables and pictures stay in the notebook."""

    def output(self, outs, msg, display_id, cell_index):
        content = msg["content"]
        if msg["msg_type"] == "stream":
            sys.stdout.write(content["text"])
            sys.stdout.flush()
        elif msg["msg_type"] == "display_data" and "text/markdown" in content["data"]:
            print(content["data"]["text/markdown"], flush=True)
        return super().output(outs, msg, display_id, cell_index)


def execute(path: Path, timeout: int = 3600, keep: Path | None = None,
            store: bool = False) -> str:
    """Run a notebook from a clean kernel in its own folder, without changing the file.

    Args:
        path: the notebook.
        timeout: seconds that a cell may take.
        keep: file that the executed notebook is written to, all outputs included.
        store: put the outputs into the file itself once all cells have run; see `stored`.

    Returns:
        An empty string, or the cell and error that stopped it.

    Raises:
        MissingPath: no such notebook.
    """
    if not usable(path).is_file():
        raise MissingPath(f"no notebook {path}; they are in notebooks/")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as fault:  # nbformat raises many kinds for damaged files
        raise ReidlabError(f"{path} is no readable notebook: {fault}") from fault
    before = deepcopy(notebook)
    client = _Shown(notebook, timeout=timeout, kernel_name="python3", record_timing=False,
                    coalesce_streams=True, extra_arguments=["--log-level=ERROR"],
                    resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute(env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1",
                                         "REIDLAB_PROGRESS": "1" if sys.stdout.isatty() else "30"})
    except CellExecutionError as fault:
        return f"{path}: {fault.ename}: {fault.evalue}\n{fault}"
    finally:
        if keep is not None:
            _write(keep, client.nb)
    if store:
        _write(path, stored(before, client.nb))
    return ""


def _write(path: Path, notebook: nbformat.NotebookNode) -> None:
    text = nbformat.writes(notebook) + "\n"
    write_whole(path, lambda out: out.write(text.encode()))
