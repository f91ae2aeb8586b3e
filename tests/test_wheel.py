"""The package as people install it: a wheel in an environment of its own, outside the checkout."""
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import MINI

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The ``reidlab`` command of a new environment that holds the wheel.

    Its libraries are those of this environment, by path: nothing is fetched, and the checkout,
    which only a hook of this environment makes importable, stays out.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves things behind
    shutil.copytree(ROOT / "reidlab", source / "reidlab",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
                    "--no-build-isolation", "--wheel-dir", folder, source], check=True)
    venv.create(folder / "env", with_pip=False)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    wheel = next(folder.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "pip", "--python", folder / "env" / "bin" / "python",
                    "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin" / "reidlab"


@pytest.mark.slow
def test_a_wheel_trains_scores_and_searches_outside_the_checkout(installed, tmp_path, cache):
    def command(*arguments):
        done = subprocess.run([installed, *arguments], cwd=tmp_path, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    where = subprocess.run([installed.with_name("python"), "-c",
                            "import reidlab; print(reidlab.__file__)"], cwd=tmp_path,
                           capture_output=True, text=True).stdout
    assert str(installed.parent.parent) in where
    assert "unknown" in command("doctor")                  # no checkout, so no commit
    short = MINI | {"training.epochs": 1, "image.pretrained": "reidlab:vit",
                    "text.pretrained": "reidlab:bert"}
    command("train", "corrected", "--run", "run", *(f"--set={k}={v}" for k, v in short.items()))
    assert json.loads(command("evaluate", "run", "--json"))["preset"] == "corrected"
    hits = json.loads(command("search", "run", "a man in a red coat", "-k", "2", "--json"))["hits"]
    assert len(hits) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


@pytest.mark.slow
def test_a_wheel_holds_the_pretrained_encoders_and_their_card(installed):
    wheel = zipfile.ZipFile(next(installed.parents[2].glob("*.whl")))
    held = {file.filename.removeprefix("reidlab/pretrained/"): file.file_size
            for file in wheel.infolist() if "/pretrained/" in file.filename}
    assert {"README.md", "vit/config.json", "vit/model.safetensors", "bert/config.json",
            "bert/model.safetensors", "bert/tokenizer.json"} <= set(held)
    assert 1_000_000 < sum(held.values()) < 8_000_000
