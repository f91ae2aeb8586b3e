"""What costs how much, as ratios within one run: a loaded machine slows both sides alike."""
import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from reidlab.batches.loading import read_ahead
from reidlab.batches.text_image import Batches
from reidlab.beside import WAITING, speed_of, training_step
from reidlab.config import Fusion
from reidlab.config.changes import change
from reidlab.data.loading import load_split
from reidlab.data.records import Split
from reidlab.encoders.efficient_attention import LinformerAttention, PerformerAttention
from reidlab.errors import ReidlabError
from reidlab.fusion import TOKEN_FUSIONS
from reidlab.fusion.selective_scan import linear_recurrence
from reidlab.gallery.vectors import VectorIndex
from reidlab.presets import preset
from reidlab.synthetic.world import World
from reidlab.tables import grid
from reidlab.tasks import TASKS, build

WARM = 5  # batches before those that are measured


def compare_times(first: Callable, second: Callable, rounds: int = 7) -> dict:
    """Median seconds of two calls, taken in turns, and the median of their ratio by turn."""
    for call in (first, second):
        call()
    return in_turns(lambda: _timed(first), lambda: _timed(second), rounds)


def in_turns(first: Callable[[], float], second: Callable[[], float], rounds: int) -> dict:
    """Medians of two measurements in seconds, taken in turns, and of their ratio by turn."""
    turns = [(first(), second()) for _ in range(rounds)]
    one, two = zip(*turns, strict=True)
    return {"first_s": statistics.median(one), "second_s": statistics.median(two),
            "ratio": statistics.median(b / a for a, b in turns)}


def _timed(call: Callable) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def bench(rounds: int = 7) -> list[dict]:
    """All comparisons: ``[{"what", "first", "second", "first_s", "second_s", "ratio"}]``.

    Args:
        rounds: turns of each comparison; those that need processes of their own take half.

    Raises:
        ReidlabError: no rounds.
    """
    if not 1 <= rounds <= 1000:
        raise ReidlabError(f"--rounds must be from 1 to 1000; got {rounds}")
    torch.manual_seed(0)
    found = []

    def add(what: str, first: tuple[str, Callable], second: tuple[str, Callable]) -> None:
        found.append({"what": what, "first": first[0], "second": second[0]}
                     | compare_times(first[1], second[1], rounds))

    experiment = preset("attention", data__people=80, data__val_people=2, data__test_people=2)
    without = dataclasses.replace(experiment, loss=dataclasses.replace(
        experiment.loss, weights=dataclasses.replace(experiment.loss.weights, cloth_match=0.0,
                                                     decouple=0.0)))
    add("a training step", ("without clothing match and decoupling", training_step(without)),
        ("with both", training_step(experiment)))
    exact = torch.nn.MultiheadAttention(128, 4, batch_first=True)
    for tokens in (64, 1024):
        x = torch.randn(4, tokens, 128)
        for name, layer in (("performer, 64 features", PerformerAttention(128, 4, 64)),
                            ("linformer, 64 summaries", LinformerAttention(128, 4, tokens, 64))):
            add(f"attention over {tokens} tokens",
                ("exact", lambda x=x: exact(x, x, x, need_weights=False)),
                (name, lambda x=x, layer=layer: layer(x, x, x)))
    image, text, mask = torch.randn(64, 19, 128), torch.randn(64, 40, 128), torch.ones(64, 40)
    fusions = {name: kind(Fusion(layers=1), 128).eval() for name, kind in TOKEN_FUSIONS.items()}
    add("fusion of 19 image and 40 text tokens", *(
        (name, lambda fusion=fusion: fusion(image, text, mask))
        for name, fusion in sorted(fusions.items())))
    decay, drive = torch.rand(256, 8, 256, 16), torch.randn(256, 8, 256, 16)
    add("a scan of 256 steps", ("all at once", lambda: linear_recurrence(decay, drive)),
        ("step by step", lambda: step_by_step(decay, drive)))
    model: Any = build(change(experiment, {"text.pretrained": None,
                                           "text.max_length": 100}), 10).eval()
    said = ["A tall man with red hair, wearing a blue coat and black jeans."] * 64
    add("64 captions", ("padded to 64 tokens", lambda: model.text_encoder(said, length=64)),
        ("padded to 100 tokens", lambda: model.text_encoder(said, length=100)))
    small, large = World(0, (96, 48)), World(0, (224, 112))
    add("50 synthetic pictures", ("96 × 48", lambda: [small.draw(k, k, 0) for k in range(50)]),
        ("224 × 112", lambda: [large.draw(k, k, 0) for k in range(50)]))
    found.append({"what": "64 pictures of 224 × 224 for a model that takes 60 ms",
                  "first": "the model alone", "second": "with two workers that read ahead"}
                 | in_turns(lambda: _timed(lambda: time.sleep(0.06)),
                            partial(seconds_a_batch, experiment, workers=2), max(1, rounds // 2)))
    pictures = np.random.default_rng(0).integers(0, 255, (256, 96, 48, 3), np.uint8)
    task, asker = TASKS[experiment.task], build(experiment, 10).eval()
    vectors = task.vectors(experiment, asker, pictures)
    gallery = VectorIndex.of(np.tile(vectors, (100, 1)))
    add("a query over pictures", ("256, embedded for each query", lambda: VectorIndex.of(
        task.vectors(experiment, asker, pictures)).search(vectors[0], 10)),
        ("25,600, embedded once", lambda: gallery.search(vectors[0], 10)))
    return found + [{"what": what, "first": first, "second": second}
                    | in_turns(speed_of(first), speed_of(second), max(1, rounds // 2))
                    for what, first, second in WAITING]


def seconds_a_batch(experiment: Any, workers: int, model: float = 0.06,
                    steps: int = 40) -> float:
    """Of a loop whose model only sleeps, once its workers read ahead.

    Args:
        experiment: whose sampling; a batch is 64 pictures of 224 × 224 here.
        workers: that read ahead.
        model: seconds that it sleeps.
        steps: that are measured.
    """
    size = (experiment.image.height, experiment.image.width)
    records = load_split(experiment.data, size, "train").records
    pixels = np.random.default_rng(0).integers(0, 255, (len(records), 224, 224, 3), np.uint8)
    batches = Batches(Split(records, pixels), change(experiment, {"training.batch_size": 64}))
    began = 0.0
    for step, _ in enumerate(read_ahead(batches.read, 0, WARM + steps, workers)):
        if step == WARM - 1:
            began = time.perf_counter()
        if step >= WARM:
            time.sleep(model)
    return (time.perf_counter() - began) / steps


def step_by_step(decay: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
    """`linear_recurrence` as its formula reads, one time step after the other: (L, …) → (L, …)."""
    states = [drive[0]]
    for forget, add in zip(decay[1:], drive[1:], strict=True):
        states.append(forget * states[-1] + add)
    return torch.stack(states)


def markdown(found: list[dict]) -> str:
    """One row a comparison."""
    return grid(["what", "first", "second", "first (ms)", "second (ms)", "second / first"], [
        [row["what"], row["first"], row["second"], f"{1e3 * row['first_s']:.1f}",
         f"{1e3 * row['second_s']:.1f}", f"{row['ratio']:.2f}"] for row in found])
