"""What a chapter keeps of its run: outputs that any page can show, and a digest of its sources."""
import base64
import copy
import hashlib
import io
import json

from nbformat import NotebookNode
from PIL import Image

WIDTH = 1000  # pixels of a stored picture at most
LARGE = 100_000  # bytes
NEEDS_KERNEL = {"application/vnd.jupyter.widget-view+json"}


def digest(notebook: NotebookNode) -> str:
    """Short hash of kind and source of every cell: equal as long as nobody edits a cell."""
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def stale(notebook: NotebookNode) -> bool:
    """Whether the stored outputs belong to other sources, or there are none."""
    return notebook.metadata.get("reidlab", {}).get("sources") != digest(notebook)


def stored(before: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The chapter `before`, with the outputs of `executed`, as it is committed.

    Pictures are small, at most `WIDTH` pixels wide; a widget leaves its static picture; what only a
    running kernel can show, and what tells one run from the next (times, versions), goes.
    """
    kept = copy.deepcopy(before)
    kept.metadata.reidlab = {"sources": digest(before)}
    for cell, ran in zip(kept.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = ran.execution_count
            cell.outputs = [lasting for one in ran.outputs if (lasting := _lasting(one))]
    return kept


def _lasting(output: NotebookNode) -> NotebookNode | None:
    """An output that needs no kernel; None where nothing is left of it."""
    if "data" not in output:
        return None if output.get("name") == "stderr" else output  # bars of progress
    output = copy.deepcopy(output)
    for kind in NEEDS_KERNEL & output.data.keys():
        del output.data[kind]
        if output.data.keys() == {"text/plain"}:
            return None
    if "image/png" in output.data:
        output.data["image/png"] = _small(output.data["image/png"])
        output.data.pop("text/plain", None)
        output.metadata = {}
    return output


def _small(encoded: str) -> str:
    """A PNG in base64 at most `WIDTH` wide; a large one gets 256 colours, a third of the bytes."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    if picture.width > WIDTH:
        size = WIDTH, round(picture.height * WIDTH / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    whole = _png(picture)
    if len(whole) > LARGE:  # rare colours, as in a legend, keep their own
        whole = _png(picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2,
                                      dither=Image.Dither.NONE))
    return base64.b64encode(whole).decode()


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "png", optimize=True)
    return out.getvalue()
