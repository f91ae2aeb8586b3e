"""The spin count: set before torch loads, everywhere, unless the user has chosen."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reidlab.threads import OWN_CHOICE, SPINS, in_force

PRINT = "import os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


def seen(code, **own):
    """What a new process prints; `own` is what its user has set."""
    env = {k: v for k, v in os.environ.items() if k not in OWN_CHOICE} | own
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=env).stdout.strip()


def test_the_package_sets_a_spin_count_before_it_loads_torch():
    code = "import sys, reidlab; assert 'torch' not in sys.modules; " + PRINT
    assert seen(code) == f"{SPINS} None"


@pytest.mark.parametrize(("own", "kept"), [
    ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None PASSIVE")])
def test_what_the_user_has_set_is_kept(own, kept):
    assert seen("import reidlab; " + PRINT, **own) == kept
    said = seen("import reidlab; from reidlab.threads import in_force; print(in_force())", **own)
    assert next(iter(own.values())) in said and "the kit's" not in said


def test_this_very_test_process_waits_briefly_and_says_so():
    assert any(name in os.environ for name in OWN_CHOICE)
    assert any(name in in_force() for name in OWN_CHOICE)


def test_make_sets_the_same_count_for_jupyterlab_and_its_kernels():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert re.search(r"^export GOMP_SPINCOUNT \?= (\d+)$", makefile, re.M)[1] == SPINS
