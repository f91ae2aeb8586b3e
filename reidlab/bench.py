"""What costs how much, as ratios within one run: a loaded machine slows both sides alike."""
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

from reidlab.config import Experiment, Fusion
from reidlab.data.loading import load
from reidlab.data.sampling import Batches
from reidlab.data.world import World
from reidlab.disentangle.efficient import LinformerAttention, PerformerAttention
from reidlab.fusion import TOKEN_FUSIONS
from reidlab.fusion.selective_scan import Mamba
from reidlab.losses.total import TotalLoss
from reidlab.models.building import build
from reidlab.presets import preset


def compare_times(first: Callable, second: Callable, rounds: int = 7) -> dict:
    """Median seconds of two calls, taken in turns, and the median of their ratio by turn."""
    for call in (first, second):
        call()
    turns = []
    for _ in range(rounds):
        turn = []
        for call in (first, second):
            began = time.perf_counter()
            call()
            turn.append(time.perf_counter() - began)
        turns.append(turn)
    one, two = zip(*turns, strict=True)
    return {"first_s": statistics.median(one), "second_s": statistics.median(two),
            "ratio": statistics.median(b / a for a, b in turns)}


def bench(rounds: int = 7) -> list[dict]:
    """All comparisons: ``[{"what", "first", "second", "first_s", "second_s", "ratio"}]``."""
    torch.manual_seed(0)
    found = []

    def add(what: str, first: tuple[str, Callable], second: tuple[str, Callable]) -> None:
        found.append({"what": what, "first": first[0], "second": second[0]}
                     | compare_times(first[1], second[1], rounds))

    experiment = preset("attention", data__people=80, data__val_people=2, data__test_people=2)
    without = dataclasses.replace(experiment, loss=dataclasses.replace(
        experiment.loss, weights=dataclasses.replace(experiment.loss.weights, cloth_match=0.0,
                                                     decouple=0.0)))
    add("a training step", ("without clothing match and decoupling", _step(without)),
        ("with both", _step(experiment)))
    exact = torch.nn.MultiheadAttention(128, 4, batch_first=True)
    for tokens in (64, 1024):
        x = torch.randn(4, tokens, 128)
        for name, layer in (("performer, 64 features", PerformerAttention(128, 4, 64)),
                            ("linformer, 64 summaries", LinformerAttention(128, 4, tokens, 64))):
            add(f"attention over {tokens} tokens",
                ("exact", lambda x=x: exact(x, x, x, need_weights=True)),
                (name, lambda x=x, layer=layer: layer(x, x, x)))
    image, text, mask = torch.randn(64, 19, 128), torch.randn(64, 40, 128), torch.ones(64, 40)
    fusions = {name: kind(Fusion(layers=1), 128).eval() for name, kind in TOKEN_FUSIONS.items()}
    add("fusion of 19 image and 40 text tokens", *(
        (name, lambda fusion=fusion: fusion(image, text, mask))
        for name, fusion in sorted(fusions.items())))
    scan, sequence = Mamba(128), torch.randn(8, 256, 128)
    add("a scan of 256 steps", ("all at once", lambda: scan(sequence)),
        ("step by step", lambda: [scan(sequence[:, k:k + 1]) for k in range(256)]))
    model = build(experiment, 10).eval()
    said = ["A tall man with red hair, wearing a blue coat and black jeans."] * 64
    add("64 captions", ("padded to 64 tokens", lambda: model.text_encoder(said, length=64)),
        ("padded to 100 tokens", lambda: build_longer(model, said)))
    small, large = World(0, (96, 48)), World(0, (224, 112))
    add("50 drawn pictures", ("96 × 48", lambda: [small.draw(k, k, 0) for k in range(50)]),
        ("224 × 112", lambda: [large.draw(k, k, 0) for k in range(50)]))
    return found


def build_longer(model, said: list[str]) -> torch.Tensor:
    """The same captions padded to 100 tokens, by repeating position codes of the longest 64."""
    bert = model.text_encoder.bert
    ids, mask = model.text_encoder.tokens(said, 100)
    positions = torch.arange(100).clamp(max=bert.config.max_position_embeddings - 1)
    return bert(input_ids=ids, attention_mask=mask,
                position_ids=positions.expand(len(said), -1)).last_hidden_state


def _step(experiment: Experiment) -> Callable:
    """One forward and backward pass on a fixed batch."""
    data = load(experiment.data, (experiment.image.height, experiment.image.width))
    batch, model = Batches(data.train, experiment)(0), build(experiment, data.classes)
    loss = TotalLoss(experiment.loss, model.text_encoder.dim, experiment.heads.embedding)

    def step():
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
        loss(out, batch, 1)["total"].backward()
    return step


def markdown(found: list[dict]) -> str:
    """One row a comparison."""
    lines = ["| what | first | second | first (ms) | second (ms) | second / first |",
             "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {row['what']} | {row['first']} | {row['second']} | {1e3 * row['first_s']:.1f} | "
              f"{1e3 * row['second_s']:.1f} | {row['ratio']:.2f} |" for row in found]
    return "\n".join(lines)
