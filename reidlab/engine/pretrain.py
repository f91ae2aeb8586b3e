"""Train the `tiny` encoders on whole captions of people whom nothing else uses."""
import os
import time
from pathlib import Path
from typing import Literal, cast

import torch
from accelerate import Accelerator

from reidlab.batches.pretraining import (
    WORLD,
    PretrainingBatch,
    Recipe,
    augmented,
    mask_words,
    stream,
)
from reidlab.config import TextImageExperiment, Training
from reidlab.data.folders import write_folder
from reidlab.data.packing import normalized
from reidlab.encoders.tokens import train_tokenizer
from reidlab.engine.model_card import write_card
from reidlab.engine.optim import build_optimizer, learning_rate
from reidlab.engine.precision import device_name, fast_bf16
from reidlab.engine.progress import progress_bar
from reidlab.errors import ReidlabError
from reidlab.files import read_json, write_json
from reidlab.models.pretraining import WholeCaptions, pretraining_losses
from reidlab.presets import preset
from reidlab.runs import checkpoint, lock
from reidlab.runs.folder import RunFolder
from reidlab.synthetic.world import World

Backbone = Literal["vit", "resnet"]
# What a pretraining keeps: part of an experiment → folder.
ENCODERS = {"vit": {"image": "vit", "text": "bert"}, "resnet": {"image": "resnet"}}
STEPS = 6_000
VOCABULARY = 4000  # captions of the pretraining world that the tokenizer is made from


def pretrain(folder, steps: int = STEPS, seed: int = 0, image: Backbone = "vit",
             workers: int | None = None, quiet: bool = False, recipe: Recipe | None = None,
             save_every: int = 500) -> dict:
    """Train, or go on where the folder's checkpoint stands, and write the encoders.

    No identity label, factor or divided caption is read. People and outfits are new in every block.
    A line of the log is the mean of the steps since the line before: steps of two kinds take turns.

    Args:
        folder: takes ``vit/`` and ``bert/``, or ``resnet/`` (Hugging Face layout, half precision),
            the log and the checkpoint.
        steps: of the whole run.
        seed: of weights and batches.
        image: ``vit``; or ``resnet``, the network of `deen`, whose text encoder is not kept.
        workers: processes that render ahead, by default one for two cores; 0 renders between the
            steps.
        quiet: no progress bar.
        recipe: what a batch is made of.
        save_every: steps between checkpoints.

    Returns:
        What was trained, as ``pretraining.json`` holds it.

    Raises:
        ReidlabError: a folder with another pretraining, or a length below one step.
    """
    run, recipe = _folder(folder), recipe or Recipe()
    plan = {"image": image, "world": WORLD, "steps": steps, "seed": seed, "people": recipe.people,
            "outfits": recipe.outfits, "others": recipe.others, "steps_a_block": recipe.steps,
            "size": list(recipe.size)}
    if steps < 1:
        raise ReidlabError(f"--steps is {steps}; a pretraining has at least 1")
    _refuse_another(run.path, plan)
    if all((run.path / name).exists() for name in ENCODERS[image].values()):
        return plan
    write_json(run.path / "pretraining.json", plan)
    if workers is None:
        workers = max(1, (os.cpu_count() or 1) // 2)
    lock.take(run.lock)
    try:
        _train(run, recipe, steps, seed, image, workers, quiet, save_every)
    finally:
        lock.give_back(run.lock)
    return plan


def _train(run: RunFolder, recipe: Recipe, steps: int, seed: int, image: Backbone, workers: int,
           quiet: bool, save_every: int) -> None:
    torch.manual_seed(seed)
    device = Accelerator(cpu=not torch.cuda.is_available()).device
    model, config = pretraining_model(image).to(device), _training()
    optimizer = build_optimizer(config, [p for p in model.parameters() if p.requires_grad])
    start = 0
    if run.last.exists():
        start = checkpoint.restore(run.last, {"model": model}, optimizer)["step"]
    run.keep_until(start)
    model.train()
    began, unlogged = time.perf_counter(), []
    with progress_bar("pretraining", steps, start, quiet) as bar:
        for step, batch in enumerate(stream(recipe, seed, start, steps, workers), start=start):
            unlogged.append(_step(model, optimizer, config, batch, step, steps, seed))
            if (step + 1) % 100 == 0 or step + 1 == steps:
                terms = {name: torch.stack([row[name] for row in unlogged]).mean().item()
                         for name in unlogged[0]}
                unlogged.clear()
                run.log({"step": step + 1, "seconds": round(time.perf_counter() - began, 1),
                         "device": device_name(), **terms})
                bar.set_postfix_str(f"loss {terms['total']:.2f}", refresh=False)
            if (step + 1) % save_every == 0 or step + 1 == steps:
                checkpoint.save(run.last, {"model": model}, optimizer, step=step + 1, best=0.0)
            bar.update()
    write_card(run, model)
    _export(model, run.path, image)


def _step(model: WholeCaptions, optimizer, config: Training, batch: PretrainingBatch, step: int,
          steps: int, seed: int) -> dict[str, torch.Tensor]:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step, steps) * group["share"]
    chance = torch.Generator().manual_seed(seed * 1_000_003 + step)
    image, captions = augmented(batch, chance)
    tokens = model.text.tokens
    ids, mask = tokens(captions)
    special = set(tokens.tokenizer.all_special_ids)
    blanked, asked = mask_words(ids, mask, special, tokens.tokenizer.mask_token_id, chance)
    device = model.log_scale.device
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16()):
        seen = model(normalized(image.to(device)), blanked.to(device), mask.to(device))
    terms = pretraining_losses(model, seen, asked.to(device))
    optimizer.zero_grad()
    terms["total"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def _training() -> Training:
    return Training(optimizer="adamw", lr=1e-3, weight_decay=0.05, warmup=200, final_lr=1e-5,
                    max_grad_norm=1.0)


def pretraining_model(image: Backbone) -> WholeCaptions:
    """The untrained model, with the sizes of the designs that start from it."""
    start = preset("corrected", "tiny", image__pretrained=None, text__pretrained=None)
    design = start if image == "vit" else preset("deen", "tiny", image__pretrained=None)
    world = World(WORLD)
    said = [world.describe(k, k, 0) for k in range(VOCABULARY)]
    tokenizer = train_tokenizer([f"{s.id_caption} {s.cloth_caption}" for s in said])
    text = cast(TextImageExperiment, start).text
    return WholeCaptions(design.image, text, tokenizer, image)


def _folder(path) -> RunFolder:
    run = RunFolder(path)
    run.metrics, run.last = run.path / "pretraining.jsonl", run.path / "last.safetensors"
    return run


def _refuse_another(folder: Path, plan: dict) -> None:
    held = folder / "pretraining.json"
    if held.exists() and (before := read_json(held)) != plan:
        raise ReidlabError(f"{folder} holds another pretraining ({before}); choose a new folder")


def _export(model: WholeCaptions, folder: Path, image: Backbone) -> None:
    """Hugging Face folders, each written whole; what a killed run wrote stays."""
    def bert(path):
        model.text.bert.save_pretrained(path)
        model.text.tokens.tokenizer.save_pretrained(path)
    model.half()
    for name in ENCODERS[image].values():
        if not (folder / name).exists():
            write_folder(folder / name, bert if name == "bert" else model.images.save_pretrained)
