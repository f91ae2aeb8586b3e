"""A real JupyterLab in a headless browser: sliders, the run panel, the search box, all chapters.

Needs playwright, JupyterLab and a Chromium on the path: ``make browser``. Skipped elsewhere.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from reidlab.runs.folder import RunFolder
from tests.chapters import FINAL, NOTEBOOKS, pictures_made, pictures_shown, short_final
from tests.conftest import MINI

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CELLS = {
    "figure": "import torch\n"
              "from reidlab.synthetic.world import World\n"
              "from reidlab.notebook import check\n"
              "from reidlab.plots.people import portrait\n"
              "picture = portrait(World(seed=0, size=(96, 48)).draw(3, 7, 3))\n"
              "picture",
    "slider": "from reidlab.widgets.explorer import people_explorer\n"
              "people_explorer(size=(96, 48)).show()",
    "run": "import reidlab\nfrom reidlab.widgets.run_panel import RunPanel\n"
           "mine = reidlab.preset('corrected', 'tiny', **{CHANGES})\n"
           "panel = RunPanel(mine, {RUN!r}, every=0.5)\n"
           "panel.show()",
    "search": "from reidlab.engine.search import Searcher\n"
              "from reidlab.widgets.search_box import SearchBox\n"
              "box = SearchBox(Searcher({TRAINED!r}), 'a man in a red coat', k=3)\nbox.show()",
}
HELD = "window.jupyterapp.shell.currentWidget.context.model.toJSON()"  # the notebook on the page
EPOCHS = 200  # of four steps: long enough to be looked at, stopped and resumed


@pytest.fixture(scope="module")
def lab(tmp_path_factory, run, cache):
    """A running server; its address, and the folder of the run that the panel starts."""
    pytest.importorskip("playwright")
    pytest.importorskip("jupyterlab")
    if not CHROMIUM:
        pytest.skip("no chromium on the path")
    folder = tmp_path_factory.mktemp("lab")
    changes = {k.replace(".", "__"): v for k, v in MINI.items()} | {"training__epochs": EPOCHS}
    names = {"{CHANGES}": repr(changes), "{RUN!r}": repr(str(folder / "run")),
             "{TRAINED!r}": repr(str(run))}
    for name, source in CELLS.items():
        for mark, text in names.items():
            source = source.replace(mark, text)
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(book, folder / f"{name}.ipynb")
    for file in NOTEBOOKS:
        shutil.copy(file, folder)
    nbformat.write(short_final(folder / "final"), folder / FINAL.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
         "--expose-app-in-browser", "--IdentityProvider.token=", f"--notebook-dir={folder}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "REIDLAB_FIGURES": str(folder / "figures")})
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield address, folder / "run"
    finally:
        if (folder / "run").exists():
            (folder / "run" / "stop").touch()
        server.terminate()
        server.wait(30)


@pytest.fixture
def page(lab):
    """An empty page of a headless browser."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(90_000)
        yield page
        browser.close()


def command(page, name):
    """Start one of JupyterLab's commands; it may wait for a dialog."""
    page.evaluate("name => { window.jupyterapp.commands.execute(name) }", name)


def opened(page, address, name):
    """Open a notebook and run its cell."""
    page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached")
    page.click(".jp-Notebook .jp-CodeCell .jp-InputPrompt")      # the notebook is the current one
    for _ in range(60):                             # until the kernel has taken the cell
        command(page, "notebook:run-all-cells")
        page.wait_for_timeout(1000)
        if page.inner_text(".jp-CodeCell .jp-InputPrompt").strip() not in ("[ ]:", "[]:", ""):
            return


def until(page, ask, *given):
    """Wait until a piece of JavaScript is true."""
    page.wait_for_function(ask, arg=list(given))


def shoot(page, name):
    """Keep a screenshot where REIDLAB_SHOTS says so."""
    if "REIDLAB_SHOTS" in os.environ:
        page.screenshot(path=f"{os.environ['REIDLAB_SHOTS']}/{name}.png")


@pytest.mark.slow
def test_a_slider_changes_its_picture(lab, page):
    opened(page, lab[0], "slider")
    page.wait_for_selector(".widget-image")
    before = page.get_attribute(".widget-image", "src")
    page.focus(".noUi-handle >> nth=0")
    page.keyboard.press("ArrowRight")
    until(page, "([old]) => document.querySelector('.widget-image').src != old", before)
    shoot(page, "slider")


@pytest.mark.slow
def test_a_cell_that_ends_in_a_figure_shows_it_and_no_line_of_text(lab, page):
    opened(page, lab[0], "figure")
    page.wait_for_selector(".jp-RenderedImage img")
    size = page.evaluate("() => { const i = document.querySelector('.jp-RenderedImage img');"
                         " return [i.naturalWidth, i.naturalHeight] }")
    assert min(size) > 100
    assert "<Figure" not in page.inner_text(".jp-OutputArea")
    shoot(page, "figure")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_run_all_ends_and_shows_every_picture_and_no_warning(lab, page, file):
    """As a reader does it: Run All, in the order of the chapters or any other."""
    page.goto(f"{lab[0]}/lab/workspaces/{file.stem}/tree/{file.name}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached")
    page.click(".jp-Notebook .jp-MarkdownCell >> nth=0")
    command(page, "notebook:clear-all-cell-outputs")
    for _ in range(60):                             # until the kernel has taken the first cell
        command(page, "notebook:run-all-cells")
        page.wait_for_timeout(1500)
        if page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session"
                         "?.kernel?.status") == "busy":
            break
    page.wait_for_function(f"() => ({HELD}).cells.every(cell => cell.cell_type != 'code' || "
                           "cell.execution_count || !cell.source)", timeout=600_000)
    cells = nbformat.from_dict(page.evaluate(f"() => {HELD}")).cells
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.execution_count, cell.id
            assert all(one.output_type != "error" for one in cell.outputs), cell.id
    assert pictures_shown(cells) == pictures_made(cells) > 0
    shoot(page, file.stem)
    command(page, "kernelmenu:shutdown")


@pytest.mark.slow
def test_the_search_box_answers_a_typed_description_and_a_picked_photo(lab, page):
    opened(page, lab[0], "search")
    page.wait_for_selector("button:has-text('1: ')")
    before = page.inner_text("button:has-text('1: ')"), page.get_attribute(
        ".widget-image >> nth=1", "src")
    page.fill(".widget-text input", "a woman with long black hair in a green dress")
    page.keyboard.press("Enter")
    until(page, "([text, src]) => [...document.querySelectorAll('button')].every("
          "b => b.innerText != text) || document.querySelectorAll('.widget-image')[1].src != src",
          *before)
    why = page.get_attribute(".widget-image >> nth=4", "src")
    page.click("button:has-text('2: ')")
    until(page, "([old]) => document.querySelectorAll('.widget-image')[4].src != old", why)
    shoot(page, "search")
    none = page.get_attribute(".widget-image >> nth=0", "src")
    page.click("button:has-text('ask with this hit')")
    until(page, "([old]) => document.querySelectorAll('.widget-image')[0].src != old", none)
    page.select_option(".widget-dropdown select", "both")
    page.wait_for_selector("button:has-text('1: 2.00')")  # the picked picture finds itself
    shoot(page, "search_by_photo")


def step_on(page) -> int:
    """The step that the run panel shows."""
    text = page.inner_text(".jp-OutputArea .widget-html-content >> nth=0")
    return int(text.split("step ")[1].split()[0]) if "step " in text else 0


def moving(page):
    """Wait until the shown step has grown."""
    seen = step_on(page)
    until(page, "([seen]) => +(document.querySelector('.jp-OutputArea .widget-html-content')"
          "?.innerText.split('step ')[1]?.split(' ')[0] ?? 0) > seen", seen)


@pytest.mark.slow
def test_a_run_survives_reload_and_kernel_restart_and_resumes_without_a_gap(lab, page):
    address, folder = lab
    opened(page, address, "run")
    page.click("button:has-text('Start')")
    moving(page)
    command(page, "docmanager:save")
    shoot(page, "run")
    page.reload()                                   # the page is closed and opened again
    page.wait_for_selector("button:has-text('Stop')")
    moving(page)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached")
    command(page, "notebook:restart-run-all")
    page.click(".jp-Dialog .jp-mod-accept")         # a new kernel, the same run
    page.wait_for_selector("button:has-text('Stop')")
    until(page, "() => document.querySelector('.jp-OutputArea .widget-html-content')"
          "?.innerText.startsWith('training')")
    moving(page)
    page.click("button:has-text('Stop')")
    page.wait_for_selector("button:has-text('Resume')")
    stopped = RunFolder(folder).rows()[-1]["step"]
    page.wait_for_selector("button:has-text('Resume'):not([disabled])")
    page.click("button:has-text('Resume')")
    page.wait_for_selector("button:has-text('Stop'):not([disabled])")
    until(page, "([seen]) => +(document.querySelector('.jp-OutputArea .widget-html-content')"
          "?.innerText.split('step ')[1]?.split(' ')[0] ?? 0) > seen", stopped)
    page.click("button:has-text('Stop')")
    page.wait_for_selector("button:has-text('Resume'):not([disabled])")
    shoot(page, "stopped")
    steps = [row["step"] for row in RunFolder(folder).rows()]
    assert steps == list(range(1, len(steps) + 1)) and steps[-1] > stopped
    assert json.loads((folder / "config.json").read_text())["experiment"]["name"] == "corrected"
