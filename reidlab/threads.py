"""How threads wait for each other, set before torch loads.

Threads of one run meet at barriers many times a step. While they wait they spin, and what they
spin on is a core that another process needs: beside one busy process a run falls to a fraction of
its speed. A short spin keeps the speed of a run that is alone and most of it beside others; the
figures are rows of ``reidlab bench``.
"""
import os

SPINS = "6000"  # turns of the wait loop of GNU's OpenMP; its own default is 300,000
OWN_CHOICE = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Set the spin count for this process and all it starts, unless the user has chosen.

    Only GNU's OpenMP, which torch brings along on Linux, reads it; other runtimes are left alone.
    """
    if not any(name in os.environ for name in OWN_CHOICE):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def in_force() -> str:
    """What this process waits by, and who said so."""
    if "OMP_WAIT_POLICY" in os.environ:
        return f"OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']} (yours)"
    count = os.environ.get("GOMP_SPINCOUNT", "300,000 (the runtime's own)")
    return f"GOMP_SPINCOUNT={count}" + (" (the kit's)" if count == SPINS else "")
