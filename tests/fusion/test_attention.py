"""Improvements that note 001 names for its fusion: cheaper attention, richer and steadier gates."""
import pytest
import torch

from reidlab.config import Fusion
from reidlab.fusion import build_fusion
from reidlab.losses.text_image import TextImageLoss
from tests.as_written.test_losses import batch_of, output_of
from tests.conftest import mini


def fusion(**fields):
    torch.manual_seed(0)
    return build_fusion(Fusion(name="attention_gated", **fields), 32).eval()


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


def test_the_fusion_gate_is_kept_from_jumping():
    config = mini("projection", loss__weights__fusion_gate_smoothing=2.0).loss
    loss, batch, out = TextImageLoss(config, 24, 16), batch_of(8, True, 4), output_of(8, 4)
    out.gate_weights = torch.tensor([[0.9, 0.1]] * 8)
    first = loss(out, batch, 1)["fusion_gate_smoothing"].item()
    assert first == pytest.approx(0.4 ** 2)
    for _ in range(60):  # the running mean follows
        last = loss(out, batch, 1)["fusion_gate_smoothing"].item()
    assert last < 1e-4
