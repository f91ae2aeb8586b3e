"""The model card of pretrained encoders: how they were made, and what each layer knows.

Shapes: N pictures, D width.
"""
import numpy as np
import torch
from torch import Tensor

from reidlab.batches.pretraining import WORLD
from reidlab.data.packing import to_tensor
from reidlab.evaluation.probes import CLOTHING, IDENTITY, probe
from reidlab.files import read_json, write_whole
from reidlab.models.pretraining import WholeCaptions
from reidlab.runs.folder import RunFolder
from reidlab.synthetic.world import World
from reidlab.tables import grid

APART = 2**30  # person and outfit numbers that no pretraining comes to
SCENE = ("scene/camera", "scene/view", "scene/background", "scene/light")
USE = """## Use

Start the designs of size `tiny` from them. They are not for anything else:

- They know synthetic people alone. On photographs they know nothing.
- They are no re-identification model: no identity label was shown. Identity and clothing lie in
  them side by side, and a probe reads both (below).
- They say nothing of real people, and must not be used to look for any."""


def write_card(run: RunFolder, model: WholeCaptions, people: int = 600) -> None:
    """Write ``README.md`` into a pretraining's folder.

    Args:
        run: the folder, with plan and log.
        model: what was trained, in full precision.
        people: of the pretraining world, seen by no step; half fit the probes, half judge them.
    """
    text = f"{card(run, model, people)}\n".encode()
    write_whole(run.path / "README.md", lambda out: out.write(text))


def card(run: RunFolder, model: WholeCaptions, people: int) -> str:
    """The text of the card."""
    plan, rows = read_json(run.path / "pretraining.json"), run.rows()
    last = rows[-10:]
    losses = ", ".join(f"{name} {np.mean([r[name] for r in last]):.2f}"
                       for name in ("captions", "tracklets", "words"))
    worn = "one outfit" if plan["outfits"] == 1 else f"the same {plan['outfits']} outfits"
    kept = ("vit", "bert") if plan["image"] == "vit" else ("resnet",)
    blocks = -(-plan["steps"] // plan["steps_a_block"])
    persons = blocks * 2 * (plan["people"] + plan["others"])
    made = grid(["what", "how"], [
        ["command", f"`reidlab pretrain --out DIR --steps {plan['steps']} --seed {plan['seed']} "
                    f"--image {plan['image']}`"],
        ["data", f"{persons:,} synthetic people of world {plan['world']}, which no experiment may "
                 f"have; pictures of {plan['size'][0]}×{plan['size'][1]}; whole captions, two "
                 "shots of each person in an outfit; no identity labels, no factors"],
        ["batches", f"in turn {plan['people']} people in {worn}, and {plan['others']} others, each "
                    "in an outfit of their own; two shots of everybody"],
        ["time", f"{_seconds(rows) / 60:.0f} minutes on {rows[-1]['device']}"],
        ["losses, mean of the last 1,000 steps", losses]])
    named = " and ".join(f"`{name}`" for name in kept)
    return "\n\n".join([
        f"# {named}: size `tiny`, pretrained on synthetic people", made, USE,
        "## What each layer knows\n\nBalanced accuracy of a linear probe above chance, on "
        f"{people // 2} people of the same world whom no step has seen, fitted on as many others. "
        "Image layers: mean token. Text layers: mean token of the picture's whole caption, which "
        "does not tell every factor.", layer_table(model, people, tuple(plan["size"]))])


def _seconds(rows: list[dict]) -> float:
    """Of all stretches of a run: each starts its clock again."""
    times = [row["seconds"] for row in rows]
    return sum(a for a, b in zip(times, [*times[1:], 0.0], strict=True) if b < a)


@torch.inference_mode()
def layer_table(model: WholeCaptions, people: int, size: tuple[int, int]) -> str:
    """Factors × layers: balanced accuracy above chance, of unseen people.

    Args:
        model: what was trained.
        people: half fit the probes, half judge them.
        size: (height, width) of pictures in pixels.
    """
    world = World(WORLD, size)
    drawn = [world.draw(APART + k, APART + k, 0) for k in range(people)]
    image = to_tensor(np.stack([d.image for d in drawn]))
    ids, mask = model.text.tokens([f"{d.id_caption} {d.cloth_caption}" for d in drawn])
    was_training = model.training
    model.eval()
    seen = model.images(image, output_hidden_states=True).hidden_states
    read = model.text.bert(input_ids=ids, attention_mask=mask,
                           output_hidden_states=True).hidden_states
    model.train(was_training)
    features = {f"image {k}": _mean(maps) for k, maps in enumerate(seen)}
    features |= {f"text {k}": model.pool(states, mask).numpy() for k, states in enumerate(read)}
    half, rows = people // 2, []
    for factor in (*IDENTITY, *CLOTHING, *SCENE):
        known = [d.factors[factor] for d in drawn]
        above = [probe(x[:half], known[:half], x[half:], known[half:], permutations=1)
                 ["above_chance"] for x in features.values()]
        rows.append([factor, *(f"{value:+.2f}" for value in above)])
    return grid(["factor", *features], rows)


def _mean(states: Tensor) -> np.ndarray:
    """(N, tokens, D) or (N, D, h, w) → (N, D)."""
    return (states.mean(1) if states.dim() == 3 else states.mean((2, 3))).numpy()
