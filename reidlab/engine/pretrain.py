"""Train the `tiny` encoders on whole captions of people whom nothing else uses."""
import json
import time
from pathlib import Path

import torch

from reidlab.batches.pretraining import WORLD, PretrainingBatch, Recipe, mask_words, stream
from reidlab.config import TextImageExperiment, Training
from reidlab.data.folders import write_folder
from reidlab.data.packing import to_tensor
from reidlab.encoders.bert import train_tokenizer
from reidlab.engine.optim import build_optimizer, learning_rate
from reidlab.engine.progress import progress_bar
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.models.pretraining import WholeCaptions, pretraining_losses
from reidlab.presets import preset
from reidlab.runs import checkpoint
from reidlab.synthetic.world import World

VOCABULARY = 4000  # captions of the pretraining world that the tokenizer is made from


def pretrain(folder, steps: int = 20_000, seed: int = 0, workers: int = 1, quiet: bool = False,
             recipe: Recipe | None = None, save_every: int = 500) -> dict:
    """Train, or go on where the folder's checkpoint stands, and write both encoders.

    No identity label, factor or divided caption is read. People and outfits are new in every step.

    Args:
        folder: takes ``vit/`` and ``bert/`` (Hugging Face layout, half precision), the log and the
            checkpoint.
        steps: of the whole run.
        seed: of weights and batches.
        workers: processes that render ahead; 0 renders between the steps.
        quiet: no progress bar.
        recipe: what a batch is made of.
        save_every: steps between checkpoints.

    Returns:
        What was trained, as ``pretraining.json`` holds it.

    Raises:
        ReidlabError: a folder with another pretraining, or a length below one step.
    """
    folder, recipe = Path(folder), recipe or Recipe()
    plan = {"world": WORLD, "steps": steps, "seed": seed, "people": recipe.people,
            "outfits": recipe.outfits, "tracklets": recipe.tracklets, "size": list(recipe.size)}
    if steps < 1:
        raise ReidlabError(f"--steps is {steps}; a pretraining has at least 1")
    _refuse_another(folder, plan)
    if (folder / "bert").exists():
        return plan
    write_json(folder / "pretraining.json", plan)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, config = _model().to(device), _training()
    optimizer = build_optimizer(config, [p for p in model.parameters() if p.requires_grad])
    last, start = folder / "last.safetensors", 0
    if last.exists():
        start = checkpoint.restore(last, {"model": model}, optimizer)["step"]
    _keep_until(folder / "pretraining.jsonl", start)
    model.train()
    began = time.perf_counter()
    with progress_bar("pretraining", steps, start, quiet) as bar:
        for step, batch in enumerate(stream(recipe, seed, start, steps, workers), start=start):
            terms = _step(model, optimizer, config, batch, step, steps, seed, recipe)
            if (step + 1) % 100 == 0 or step + 1 == steps:
                row = {"step": step + 1, "seconds": round(time.perf_counter() - began, 1), **terms}
                with (folder / "pretraining.jsonl").open("a") as log:
                    log.write(f"{json.dumps(row)}\n")
                bar.set_postfix_str(f"loss {terms['total']:.2f}", refresh=False)
            if (step + 1) % save_every == 0 or step + 1 == steps:
                checkpoint.save(last, {"model": model}, optimizer, step=step + 1, best=0.0)
            bar.update()
    _export(model, folder)
    return plan


def _step(model: WholeCaptions, optimizer, config: Training, batch: PretrainingBatch, step: int,
          steps: int, seed: int, recipe: Recipe) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step, steps)
    chance = torch.Generator().manual_seed(seed * 1_000_003 + step)
    tokens = model.text.tokens
    ids, mask = tokens(batch.captions)
    special = set(tokens.tokenizer.all_special_ids)
    blanked, asked = mask_words(ids, mask, special, tokens.tokenizer.mask_token_id, chance)
    image = to_tensor(batch.image.numpy())
    mirrored = torch.rand(len(image), generator=chance) < 0.5
    image = torch.where(mirrored[:, None, None, None], image.flip(-1), image)
    device = model.log_scale.device
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16()):
        seen = model(image.to(device), blanked.to(device), mask.to(device))
    terms = pretraining_losses(model, seen, asked.to(device), recipe.tracklets)
    optimizer.zero_grad()
    terms["total"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return {name: term.item() for name, term in terms.items()}


def _training() -> Training:
    return Training(optimizer="adamw", lr=1e-3, weight_decay=0.05, warmup=200, final_lr=1e-5,
                    max_grad_norm=1.0)


def _model() -> WholeCaptions:
    tiny: TextImageExperiment = preset("corrected", "tiny")  # type: ignore[assignment]
    world = World(WORLD)
    said = [world.describe(k, k, 0) for k in range(VOCABULARY)]
    tokenizer = train_tokenizer([f"{s.id_caption} {s.cloth_caption}" for s in said])
    return WholeCaptions(tiny.image, tiny.text, tokenizer)


def _keep_until(log: Path, step: int) -> None:
    """Drop what a killed run logged after its last checkpoint."""
    if log.exists():
        kept = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= step]
        log.write_text("".join(f"{line}\n" for line in kept))


def _refuse_another(folder: Path, plan: dict) -> None:
    held = folder / "pretraining.json"
    if held.exists() and (before := json.loads(held.read_text())) != plan:
        raise ReidlabError(f"{folder} holds another pretraining ({before}); choose a new folder")


def _export(model: WholeCaptions, folder: Path) -> None:
    """Both encoders as Hugging Face folders, each written whole."""
    def bert(path):
        model.text.bert.save_pretrained(path)
        model.text.tokens.tokenizer.save_pretrained(path)
    model.half()
    write_folder(folder / "vit", model.vit.save_pretrained)
    write_folder(folder / "bert", bert)


def fast_bf16() -> bool:
    """Whether bfloat16 is the faster number here: elsewhere a step takes many times as long."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return torch.cuda.is_available() or bool(known())
