"""Improvements that note 001 names for its fusion: cheaper attention, richer and steadier gates."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlab.config import Fusion
from reidlab.fusion import build_fusion
from reidlab.losses.gate import RunningMean
from reidlab.losses.text_image import TextImageLoss
from tests.as_written.test_losses import batch_of, output_of
from tests.conftest import mini


def fusion(**fields):
    torch.manual_seed(0)
    return build_fusion(Fusion(name="attention_gated", **fields), 32).eval()


@pytest.mark.covers("F7")
@pytest.mark.parametrize("mixer", ["performer", "linformer"])
def test_cheaper_attention_is_exact_at_length_one(mixer):
    exact, cheap = fusion(), fusion(mixer=mixer)
    for side in ("image_attn", "text_attn"):
        getattr(cheap, side).like(getattr(exact, side))
    rest = {k: v for k, v in exact.state_dict().items() if "_attn." not in k}
    cheap.load_state_dict(rest, strict=False)
    image, text = torch.randn(5, 32), torch.randn(5, 32)
    torch.testing.assert_close(cheap(image, text).vector, exact(image, text).vector,
                               rtol=1e-4, atol=1e-5)


@pytest.mark.covers("F9")
def test_groups_of_channels_are_weighed_apart():
    one, four = fusion(), fusion(gate_groups=4)
    image, text = torch.randn(5, 32), torch.randn(5, 32)
    assert four.gate[3].out_features == 8 and one.gate[3].out_features == 2
    assert four(image, text).gate_weights.shape == (5, 2)
    assert four(image, text).gate_weights.sum(1).tolist() == pytest.approx([1.0] * 5)
    rest = {k: v for k, v in one.state_dict().items() if not k.startswith("gate.3")}
    four.load_state_dict(rest, strict=False)
    with torch.no_grad():  # four equal pairs are one pair
        four.gate[3].weight.copy_(one.gate[3].weight.repeat(4, 1))
        four.gate[3].bias.copy_(one.gate[3].bias.repeat(4))
    torch.testing.assert_close(four(image, text).vector, one(image, text).vector)
    with torch.no_grad():  # the first group all image, the others all text
        four.gate[3].weight.zero_()
        four.gate[3].bias.copy_(torch.tensor([50.0, -50] + [-50.0, 50] * 3))
    seen = {}
    four.fc.register_forward_hook(lambda m, given, out: seen.update(mixed=given[0]))
    four(image, text)
    i = four.norm_image(four.image_attn(image[:, None], text[:, None], text[:, None])[0][:, 0]
                        + image)
    t = four.norm_text(four.text_attn(text[:, None], image[:, None], image[:, None])[0][:, 0]
                       + text)
    torch.testing.assert_close(seen["mixed"], torch.cat([i[:, :8], t[:, 8:]], 1))


@pytest.mark.covers("F8")
def test_the_fusion_gate_is_kept_from_jumping():
    config = mini("projection", loss__weights__fusion_gate_smoothing=2.0).loss
    loss, batch, out = TextImageLoss(config, 24, 16), batch_of(8, True, 4), output_of(8, 4)
    out.gate_weights = torch.tensor([[0.9, 0.1]] * 8)
    first = loss(out, batch, 1)["fusion_gate_smoothing"].item()
    assert first == pytest.approx(0.4 ** 2)
    for _ in range(60):  # the running mean follows
        last = loss(out, batch, 1)["fusion_gate_smoothing"].item()
    assert last < 1e-4


def named_with(weight: float, seed: int) -> tuple[float, float]:
    """A fusion that learns to name people where half of the pictures are noise.

    Returns:
        variance of its gate under noise in what it is given, and the share it names.
    """
    torch.manual_seed(seed)
    people, smooth = torch.randn(8, 32), RunningMean(2)
    fuse, names = build_fusion(Fusion(name="attention_gated", dropout=0.0), 32), nn.Linear(32, 8)
    step = torch.optim.Adam([*fuse.parameters(), *names.parameters()], lr=2e-3)

    def see(count):
        who, bad = torch.randint(8, (count,)), (torch.rand(count, 1) < 0.5).float()
        image = (1 - bad) * people[who] + bad * torch.randn(count, 32)
        text = people[who] + 2 * torch.randn(count, 32)
        return who, F.normalize(image, dim=1), F.normalize(text, dim=1)

    for _ in range(300):
        who, image, text = see(128)
        out = fuse(image, text)
        loss = F.cross_entropy(names(out.vector), who) + weight * smooth(out.gate_weights)
        step.zero_grad()
        loss.backward()
        step.step()
    who, image, text = see(2000)
    with torch.no_grad():
        right = names(fuse(image, text).vector).argmax(dim=1) == who
        noisy = torch.stack([fuse(image + 0.1 * torch.randn_like(image), text).gate_weights
                             for _ in range(10)])
    return noisy.var(dim=0).mean().item(), right.float().mean().item()


@pytest.mark.covers("F8")
def test_a_smoothed_fusion_gate_varies_less_under_noise_and_names_as_many():
    for seed in range(3):
        (loose, plain), (steady, smoothed) = named_with(0.0, seed), named_with(2.0, seed)
        assert steady < 0.7 * loose and smoothed > plain - 0.05, seed


@pytest.mark.covers("F9")
@pytest.mark.parametrize("groups", [1, 4])
def test_a_gate_of_groups_learns_what_one_pair_of_weights_cannot(groups):
    """Half of the channels are wanted from the picture, half from the text."""
    fuse = fusion(gate_groups=groups, dropout=0.0)
    for part in (fuse.image_attn, fuse.text_attn, fuse.fc):  # the gate alone has to learn it
        part.requires_grad_(False)
    seen: dict = {}
    fuse.norm_image.register_forward_hook(lambda m, given, out: seen.update(image=out))
    fuse.norm_text.register_forward_hook(lambda m, given, out: seen.update(text=out))
    fuse.fc.register_forward_hook(lambda m, given, out: seen.update(mixed=given[0]))
    step, losses = torch.optim.Adam(fuse.gate.parameters(), lr=1e-2), []
    for _ in range(150):
        fuse(torch.randn(64, 32), torch.randn(64, 32))
        goal = torch.cat([seen["image"][:, :16], seen["text"][:, 16:]], dim=1).detach()
        loss = (seen["mixed"] - goal).square().mean()
        losses.append(loss.item())
        step.zero_grad()
        loss.backward()
        step.step()
    left = losses[-1] / losses[0]
    assert left < 0.05 if groups == 4 else left > 0.8
