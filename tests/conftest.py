"""Shared small things: a mini experiment, its data, and one trained run."""
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it speaks on the stderr of who forks beside it
if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each worker and for what it starts
    os.environ["OMP_NUM_THREADS"] = "1"

from reidlab.data.loading import load_text_image  # noqa: E402
from reidlab.presets import preset  # noqa: E402
from tests.warm import Warm  # noqa: E402

MINI = {"data.people": 48, "data.val_people": 12, "data.test_people": 12,
        "training.epochs": 3, "training.batches_per_epoch": 4, "training.batch_size": 32,
        "training.monitor_every": 5, "training.validate_every": 2,
        "training.checkpoint_every": 3, "training.warmup": 4}


MATCHING = {"fusion__name": "attention_tokens", "fusion__layers": 1,
            "loss__weights__itm": 1.0, "loss__itm_every": 1}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Packed pictures of the test session, away from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["REIDLAB_CACHE"] = str(folder)
    return folder


def mini(name="corrected", **changes):
    """An experiment that trains in seconds."""
    fields = {**MINI, **{k.replace("__", "."): v for k, v in changes.items()}}
    return preset(name, "tiny", **{k.replace(".", "__"): v for k, v in fields.items()})


@pytest.fixture(scope="session")
def data(cache):
    """Synthetic people of the mini experiment."""
    return load_text_image(mini().data, (96, 48))


@pytest.fixture(scope="session")
def run(tmp_path_factory, cache):
    """A mini run of the corrected design, trained once."""
    from reidlab.engine.train import train
    folder = tmp_path_factory.mktemp("runs") / "mini"
    train(mini(), folder, quiet=True)
    return Path(folder)


@pytest.fixture
def warm(monkeypatch):
    """Runs and kernels start in forked processes; see `tests.warm`."""
    monkeypatch.setattr("reidlab.engine.launch.subprocess",
                        SimpleNamespace(**vars(subprocess) | {"Popen": Warm}))
    monkeypatch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", Warm)
