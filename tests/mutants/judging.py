"""One wrong version of the code, in a process of its own, against tests until one fails."""
import multiprocessing
import os
import sys
from pathlib import Path
from queue import Queue

from tests.mutants import Mutant
from tests.rows import tests_of

LIMIT = 600.0  # seconds that a mutant may take
READY = multiprocessing.get_context("forkserver")  # libraries imported once, the package never
READY.set_forkserver_preload(["torch", "transformers", "sklearn.linear_model", "accelerate",
                              "faiss", "matplotlib.pyplot", "pytest", "ipywidgets", "pymilvus"])


def judge(one: Mutant, free: Queue) -> str | None:
    """The test that notices a mutant, if one does."""
    folder = free.get()
    before = one.apply(folder)
    try:
        found = failed(folder, tests_of(one.row))
    except RuntimeError as fault:  # no Python any more, or no tests: it proves nothing
        print(f"{one.row:4s} {fault}", flush=True)
        found = None
    finally:
        (folder / one.file).write_text(before)
        free.put(folder)
    print(f"{one.row:4s} {one.file}: {found or 'SURVIVED'}", flush=True)
    return found


def failed(folder: Path, tests: list[str]) -> str | None:
    """The first of the tests that fails in a copy; all of them have passed where it is None."""
    said, saying = READY.Pipe(duplex=False)
    process = READY.Process(target=_run, args=(folder, tests, saying))
    process.start()
    saying.close()
    try:
        if not said.poll(LIMIT):
            return f"{tests[0]} (did not end)"
        code, first = said.recv()
    except EOFError:
        raise RuntimeError(f"the tests of a mutant died in {folder}: {tests}") from None
    finally:
        process.kill()
        process.join()
    if code not in (0, 1):
        raise RuntimeError(f"pytest ended with {code} in {folder}; a mutant has to be valid "
                           f"Python, and its row to have tests: {tests}")
    return first if code else None


def _run(folder: Path, tests: list[str], saying) -> None:
    os.setsid()
    os.chdir(folder)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("reidlab", "tests")]:
        del sys.modules[name]  # what is imported from here on is the copy's
    sys.path.insert(0, str(folder))
    os.environ |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    import pytest
    import torch
    torch.set_num_threads(1)
    seen = _First()
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests], [seen])
    saying.send((int(code), seen.test))


class _First:
    """Remembers the test that failed first."""

    test: str | None = None

    def pytest_runtest_logreport(self, report):
        if report.failed and self.test is None:
            self.test = report.nodeid
