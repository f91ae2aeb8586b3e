"""How fast a run goes alone and beside other work, by how its threads wait for each other.

The runtime reads its spin count when torch loads, so every measurement is a process of its own.
"""
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from reidlab.batches.text_image import Batches
from reidlab.data.loading import load_text_image
from reidlab.engine.memory import keep_freed_memory
from reidlab.engine.optim import build_optimizer
from reidlab.errors import ReidlabError
from reidlab.losses.text_image import TextImageLoss
from reidlab.presets import preset
from reidlab.tasks import build
from reidlab.threads import OWN_CHOICE, SPINS

RUNTIMES_OWN = "300000"  # spins of GNU's OpenMP where nobody sets a count
SETTINGS = {             # name → (spin count, busy processes beside)
    "alone, the runtime's own spin count": (RUNTIMES_OWN, 0),
    "alone, the kit's spin count": (SPINS, 0),
    "beside one busy process, the runtime's own spin count": (RUNTIMES_OWN, 1),
    "beside one busy process, the kit's spin count": (SPINS, 1),
}
ALONE, OURS_ALONE, BESIDE, OURS_BESIDE = SETTINGS
WAITING = (  # what, first, second
    ("a training step, threads as many as cores", ALONE, OURS_ALONE),
    ("a training step, threads as many as cores", OURS_ALONE, OURS_BESIDE),
    ("a training step, threads as many as cores", BESIDE, OURS_BESIDE),
)


def speed_of(name: str, seconds: float = 8.0) -> Callable[[], float]:
    """A call that measures one of `SETTINGS` for so many seconds and returns those of a step."""
    spins, others = SETTINGS[name]
    return lambda: seconds_a_step(spins, others, seconds)


def seconds_a_step(spins: str, others: int, seconds: float) -> float:
    """Of the ``corrected`` preset at ``tiny``, in a new process on as many threads as cores.

    Args:
        spins: spin count of the process.
        others: busy processes beside it.
        seconds: how long to measure.
    """
    env = {k: v for k, v in os.environ.items() if k not in (*OWN_CHOICE, "OMP_NUM_THREADS")}
    code = f"from reidlab.beside import measure; print(measure({seconds}))"
    with _busy(others):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              env=env | {"GOMP_SPINCOUNT": spins})
    if done.returncode:
        raise ReidlabError(f"the measuring process ended with status {done.returncode}: "
                           f"{done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout)


def measure(seconds: float) -> float:
    """Seconds of one training step in this process, measured for at least `seconds`."""
    keep_freed_memory()
    step = training_step(preset("corrected", data__people=80, data__val_people=2,
                                data__test_people=2))
    for _ in range(3):
        step()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    return (time.perf_counter() - began) / count


def training_step(experiment: Any) -> Callable:
    """A call that does a forward and a backward pass and an optimizer step on a fixed batch."""
    data = load_text_image(experiment.data, (experiment.image.height, experiment.image.width))
    batch = Batches(data.train, experiment)(0)
    model: Any = build(experiment, data.classes)
    tokens = model.text_encoder.tokens
    loss = TextImageLoss(experiment.loss, model.text_encoder.dim, experiment.heads.embedding,
                     model.identity_width, data.classes, len(tokens.tokenizer))
    words = {"id": tokens.bag(batch.id_text), "cloth": tokens.bag(batch.cloth_text)}
    optimizer = build_optimizer(experiment.training, [
        p for p in (*model.parameters(), *loss.parameters()) if p.requires_grad])

    def step() -> None:
        optimizer.zero_grad()
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
        loss(out, batch, 1, words=words)["total"].backward()
        optimizer.step()
    return step


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that compute without end, for as long as the context lasts."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
