"""What a chapter keeps of its run: what any page can show, and a digest of its sources."""
import base64
import copy
import io

import nbformat
import pytest
from PIL import Image

from reidlab.errors import MissingPath
from reidlab.notebook_runner import execute
from reidlab.notebook_store import WIDTH, digest, stale, stored

CELL = """import sys
from reidlab.notebook import check
from reidlab.plots.style import figure
from reidlab.widgets.panel import Panel
import ipywidgets
print("a line", flush=True)
print("a bar of progress", file=sys.stderr)
wide = figure(14, 2)
wide.subplots().plot([1, 2])
panel = Panel("p", lambda k: wide, k=ipywidgets.IntSlider())
panel.show()
wide"""


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"),
                                           *map(nbformat.v4.new_code_cell, cells)])


def png(width, height):
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "png")
    return base64.b64encode(out.getvalue()).decode()


def size(encoded):
    return Image.open(io.BytesIO(base64.b64decode(encoded))).size


def test_the_digest_follows_every_source_and_its_kind_and_no_output():
    one = notebook("a = 1", "a")
    seen = {digest(one), digest(notebook("a = 2", "a")), digest(notebook("a", "a = 1")),
            digest(notebook("a = 1"))}
    text = copy.deepcopy(one)
    text.cells[1].cell_type = "markdown"
    assert len(seen | {digest(text)}) == 5
    ran = copy.deepcopy(one)
    ran.cells[1].outputs = [nbformat.v4.new_output("stream", text="1")]
    ran.cells[1].execution_count, ran.metadata.kernelspec = 3, {"name": "python3"}
    assert digest(ran) == digest(one)


def test_an_edited_cell_and_a_chapter_without_outputs_are_stale():
    before = notebook("a = 1")
    kept = stored(before, before)
    assert stale(before) and not stale(kept)
    kept.cells[0].source += "!"
    assert stale(kept)


def test_what_needs_a_kernel_goes_and_what_a_page_can_show_stays():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "VBox"}
    made = nbformat.v4.new_output
    ran = notebook("a")
    ran.cells[1].outputs = [
        made("stream", name="stdout", text="said"), made("stream", name="stderr", text="bar"),
        made("display_data", data=view), made("display_data", data=view | {"image/png": png(9, 9)}),
        made("display_data", data={"text/html": "<b>1</b>", "text/plain": "1"})]
    ran.cells[1].execution_count = 1
    before = notebook("a")
    kept = stored(before, ran)
    said, picture, table = kept.cells[1].outputs
    assert said.text == "said" and table.data["text/html"] == "<b>1</b>"
    assert picture.data.keys() == {"image/png"} and size(picture.data["image/png"]) == (9, 9)
    assert kept.cells[1].execution_count == 1 and not before.cells[1].outputs
    assert len(ran.cells[1].outputs) == 5  # neither notebook given is changed


@pytest.mark.parametrize(("given", "kept"), [((WIDTH, 80), (WIDTH, 80)),
                                             ((2 * WIDTH, 301), (WIDTH, 150))])
def test_a_picture_is_stored_at_most_so_wide(given, kept):
    ran = notebook("a")
    ran.cells[1].outputs = [nbformat.v4.new_output("display_data", data={"image/png": png(*given)})]
    assert size(stored(notebook("a"), ran).cells[1].outputs[0].data["image/png"]) == kept


@pytest.mark.slow
def test_a_run_keeps_its_outputs_in_the_file_only_when_asked_and_only_when_it_ends(
        tmp_path, warm):
    file = tmp_path / "n.ipynb"
    nbformat.write(notebook(CELL), file)
    before = file.read_bytes()
    assert execute(file) == "" and file.read_bytes() == before
    assert execute(file, store=True) == ""
    kept = nbformat.read(file, as_version=4)
    said, panel, picture = kept.cells[1].outputs
    assert not stale(kept) and said.text == "a line\n"
    assert size(panel.data["image/png"])[0] == size(picture.data["image/png"])[0] == WIDTH
    nbformat.write(notebook("print(1)", "1 / 0"), file)
    broken = file.read_bytes()
    assert "ZeroDivisionError" in execute(file, store=True) and file.read_bytes() == broken
    with pytest.raises(MissingPath):
        execute(tmp_path / "none.ipynb", store=True)
