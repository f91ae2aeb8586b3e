"""Several processes that share a batch compute what one process computes on the whole of it."""
import os

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from reidlab.batches.text_image import Batch
from reidlab.evaluation.embeddings import embed_images, embed_texts
from reidlab.losses.text_image import TextImageLoss
from reidlab.losses.visible_infrared import VisibleInfraredLoss
from reidlab.models.dealing import together as together_now
from reidlab.models.parallel import SharedBatchNorm, average_gradients, nothing_of
from reidlab.presets import preset, text_image, visible_infrared
from reidlab.synthetic.world import World
from reidlab.tasks import build
from tests.warm import READY

ROWS, CLASSES = 8, 4
PEOPLE = torch.arange(ROWS) // 2
CAPTIONED = [*text_image.DESIGNS, "baseline"]
NAMES = [*CAPTIONED, *visible_infrared.DESIGNS, "mixed", "patches apart"]
SILENT = {"expansion__dropout": 0.0, "expansion__drop": 0.0}  # what is drawn differs by process
STILL = {f"{part}__dropout": 0.0 for part in ("text", "disentangle", "heads", "fusion")}
SPECIAL = {"mixed": ("embednet_ssdec", {"loss__weights__cut_mix": 1.0}),
           "patches apart": ("embednet_corrected", {"loss__weights__orthogonality": 1.0,
                                                    "loss__orthogonality": "patches"})}


def pictures(count, config):
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, ROWS, 3, config.image.height, config.image.width, generator=rng)


def shared(config):
    model = build(config, CLASSES).train()
    if dist.is_initialized():
        model.share_batch()
    return model


def described(name, rows: slice):
    """A text-image model and its loss on a batch."""
    config = preset(name, "tiny", **STILL)
    model, known = shared(config), torch.ones(ROWS, dtype=torch.bool)
    said = [World().describe(k // 2, k, 0) for k in range(ROWS)]
    outfits = torch.arange(ROWS)
    batch = Batch(pictures(1, config)[0][rows], rows, [s.id_caption for s in said],
                  [s.cloth_caption for s in said], PEOPLE, outfits, outfits,
                  torch.arange(ROWS) % 2 == 0, known, known)
    loss = TextImageLoss(config.loss, model.text_encoder.dim, config.heads.embedding,
                         model.identity_width, CLASSES, len(model.text_encoder.tokens.tokenizer))
    words = {side: model.text_encoder.tokens.bag(getattr(batch, f"{side}_text"))
             for side in ("id", "cloth")}
    out = model(batch.image, batch.cloth_text[rows], batch.id_text[rows])
    return model, loss(out, batch, 1, 1.0, words)


def seen_twice(name, rows: slice):
    """A visible-infrared model and its loss on a batch."""
    design, changes = SPECIAL.get(name, (name, {}))
    config = preset(design, "tiny", **SILENT, **changes)
    model = shared(config)
    visible, infrared = pictures(2, config)
    # whose patches come in is drawn: here each row is its own partner, and stays what it was
    torch.randperm, drawn = torch.arange, torch.randperm
    try:
        loss = VisibleInfraredLoss(config.loss, model.dim)
        return model, loss(model(visible[rows], infrared[rows]), PEOPLE.repeat(2), 1.0, True)
    finally:
        torch.randperm = drawn


def learned(name, rows: slice):
    """Loss, gradients and running statistics after one forward and backward pass of some rows."""
    model, terms = (described if name in CAPTIONED else seen_twice)(name, rows)
    terms["total"].backward()
    average_gradients(model.parameters())
    return ({n: term.detach() for n, term in terms.items()},
            {n: p.grad for n, p in model.named_parameters() if p.grad is not None},
            {n: b for n, b in model.named_buffers() if "running" in n})


def one_of_two(rank: int, folder, names) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    own = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    torch.save({name: learned(name, own) for name in names}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def together(target, folder, *given) -> None:
    both = [READY.Process(target=target, args=(rank, folder, *given)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(100)
        assert process.exitcode == 0


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    together(one_of_two, folder, NAMES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_learn_what_one_learns(name, halves):
    terms, gradients, statistics = learned(name, slice(None))
    size = torch.stack([g.norm() for g in gradients.values()]).norm()
    for half in halves:
        theirs, moved, kept = half[name]
        assert theirs.keys() == terms.keys()
        for term, value in terms.items():
            assert theirs[term].item() == pytest.approx(value.item(), rel=1e-4), term
        assert moved.keys() == gradients.keys() and kept.keys() == statistics.keys()
        for weight, gradient in gradients.items():
            assert (moved[weight] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5 * size, weight
        for buffer, value in statistics.items():
            torch.testing.assert_close(kept[buffer], value, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(
        halves[0][name][1].values(), halves[1][name][1].values(), strict=True))


def wrapped(rank: int, folder) -> None:
    """Two steps of PyTorch's wrapper with a loss that reads one of the outputs."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    config = preset("embednet_corrected", "tiny", **SILENT, loss__weights__contrast=0.0,
                    loss__weights__patches=0.0, loss__weights__orthogonality=0.0,
                    loss__weights__triplet=1.0)
    model = DistributedDataParallel(shared(config), find_unused_parameters=True)
    visible, infrared = pictures(2, config)
    own = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    for _ in range(2):
        out = model(visible[own], infrared[own])
        total = VisibleInfraredLoss(config.loss, model.module.dim)(
            out, PEOPLE.repeat(2), 1.0)["total"] + nothing_of(out)
        total.backward()
    still = [n for n, p in model.module.named_parameters() if p.requires_grad and p.grad is None]
    torch.save((total.item(), still), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_loss_that_leaves_outputs_out_keeps_nobody_waiting(tmp_path):
    together(wrapped, tmp_path)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one == other and one[0] > 0 and one[1] == []


def dealt(rank: int, folder, count) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    config = preset("corrected", "tiny")
    model = build(config, CLASSES).eval()
    pictures = torch.randint(255, (count, 96, 48, 3), dtype=torch.uint8,
                             generator=torch.Generator().manual_seed(0)).numpy()
    said, seen = [f"a man {k}" if k else "" for k in range(count)], []
    model.visual_encoder.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    alone = (*embed_images(model, pictures, range(count), 4), embed_texts(model, said,
                                                                          model.id_heads, 4))
    apart = sum(seen)
    with together_now():
        both = (*embed_images(model, pictures, range(count), 4), embed_texts(model, said,
                                                                             model.id_heads, 4))
    torch.save((alone, both, apart, sum(seen) - apart), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("count", [9, 1])
def test_processes_that_embed_together_do_half_of_the_work_each_and_get_all_of_it(tmp_path, count):
    together(dealt, tmp_path, count)
    shares = 0
    for rank in range(2):
        alone, both, apart, share = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert apart == count
        for one, other in zip(alone, both, strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(torch.from_numpy(other), torch.from_numpy(one), rtol=1e-4,
                                       atol=1e-5)
        shares += share
        assert share == ([5, 4][rank] if count == 9 else 1)
    assert shares == max(count, 2)


def normed(rank: int, folder) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    norm, x = SharedBatchNorm(3), pixels()[2 * rank:2 * rank + 2].requires_grad_()
    weigh = torch.arange(96.0).view(4, 3, 2, 4)[2 * rank:2 * rank + 2]
    (norm(x) * weigh).sum().backward()
    torch.save((x.grad, norm.weight.grad, norm.running_mean, norm.running_var,
                norm.num_batches_tracked), folder / f"{rank}.pt")
    dist.destroy_process_group()


def pixels():
    return torch.randn(4, 3, 2, 4, generator=torch.Generator().manual_seed(0)) * 3 + 2


def test_a_shared_batch_norm_is_pytorchs_on_the_whole_batch(tmp_path):
    together(normed, tmp_path)
    whole, x = torch.nn.BatchNorm2d(3), pixels().requires_grad_()
    (whole(x) * torch.arange(96.0).view(4, 3, 2, 4)).sum().backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    # each process adds up its own loss here, so that gradients are the sums' as they stand
    torch.testing.assert_close(torch.cat([first[0], second[0]]), x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first[1] + second[1], whole.weight.grad, rtol=1e-4, atol=1e-4)
    for own, theirs in zip(first[2:], (whole.running_mean, whole.running_var,
                                       whole.num_batches_tracked), strict=True):
        torch.testing.assert_close(own, theirs)


def test_a_shared_batch_norm_alone_and_at_rest_is_pytorchs():
    own, theirs, x = SharedBatchNorm(3), torch.nn.BatchNorm2d(3), pixels()
    assert torch.equal(own(x), theirs(x)) and torch.equal(own.eval()(x), theirs.eval()(x))
    assert "RANK" not in os.environ
