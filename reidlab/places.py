"""Where results go: a folder that git ignores, wherever the package or a notebook is run from."""
import os
from pathlib import Path


def project() -> Path:
    """The checkout this package stands in; the current folder where it was installed elsewhere."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def runs_folder() -> Path:
    """Where notebooks put runs."""
    return project() / "runs"


def docs_folder() -> Path:
    """Where committed tables lie."""
    return project() / "docs"


def figures_folder() -> Path:
    """Where notebooks put figures, tables and checks: ``$REIDLAB_FIGURES``, else ``runs/figures``.

    The committed copies in ``figures/`` change by ``make figures`` alone, which sets the variable.
    """
    return Path(os.environ.get("REIDLAB_FIGURES") or runs_folder() / "figures").resolve()
