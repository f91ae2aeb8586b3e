"""Pictures to tensors, and the changes that training makes to them. B batch, H × W pixels.

Bytes come in, on any device. What is drawn is drawn on the CPU for the whole batch and cut to the
rows at hand, so that neither a device nor the number of processes changes a picture.
"""
import torch
from torch import Tensor

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data.packing import normalized

GREY = torch.tensor([0.299, 0.587, 0.114])  # brightness of red, green and blue, ITU-R BT.601


def augment(pixels: Tensor, data: Data | InfraredData, generator: torch.Generator,
            batch_size: int, shard: slice) -> Tensor:
    """Mirror, shift and relight pictures, each by its own draw.

    Mirroring and shifting are one look-up of bytes; what is shifted in repeats the border.

    Args:
        pixels: (b, H, W, 3) uint8 of the shard.
        data: how much.
        generator: on the CPU.
        batch_size: B rows of the whole batch.
        shard: which of them `pixels` holds.

    Returns:
        (b, 3, H, W) float, in [-1, 1] but for the relighting.
    """
    device, (count, height, width, _) = pixels.device, pixels.shape
    draws = torch.rand(batch_size, 5, generator=generator)[shard]
    moves = (draws[:, 3:] * (2 * data.crop_padding + 1)).long() - data.crop_padding
    mirrored = draws[:, 0] < data.flip
    down, right, mirrored = (x.to(device)[:, None] for x in (*moves.T, mirrored))
    rows = (down + torch.arange(height, device=device)).clamp(0, height - 1)
    columns = (right + torch.arange(width, device=device)).clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    picture = torch.arange(count, device=device)[:, None, None]
    place = (picture * height + rows[:, :, None]) * width + columns[:, None, :]
    image = normalized(pixels.reshape(-1, 3).index_select(0, place.flatten()).view(pixels.shape))
    if data.jitter:
        light, contrast = (1 + data.jitter * (2 * draws[:, 1:3] - 1)).to(device).T
        image = relit(image.add(1).div(2), light, contrast).mul(2).sub(1)
    return image.contiguous(memory_format=torch.channels_last)  # convolutions are faster on it


def relit(image: Tensor, light: Tensor, contrast: Tensor) -> Tensor:
    """Other brightness, then other contrast around the mean grey, both clamped to [0, 1].

    Args:
        image: (B, 3, H, W) in [0, 1].
        light, contrast: (B,) factors; 1 changes nothing.
    """
    light, contrast = (factor[:, None, None, None] for factor in (light, contrast))
    image = (image * light).clamp(0, 1)
    red, green, blue = image.unbind(dim=1)
    share = GREY.to(image.device)
    grey = torch.addcmul(torch.addcmul(red * share[0], green, share[1]), blue, share[2])
    mean = grey.unsqueeze(1).mean((-2, -1), True)
    return (image * contrast + mean * (1 - contrast)).clamp(0, 1)


def random_erasing(image: Tensor, chance: float, generator: torch.Generator,
                   batch_size: int | None = None, shard: slice = slice(None)) -> Tensor:
    """Random erasing: a grey rectangle of 2 to 20 % of the area, on some of the pictures.

    Args:
        image: (b, 3, H, W), the rows of `shard`.
        chance: share of pictures that lose a rectangle.
        generator: on the CPU.
        batch_size: B rows of the whole batch; by default the pictures are the whole.
        shard: which of them `image` holds.

    Source: arXiv:1708.04896.
    """
    if not chance:
        return image
    device, (height, width) = image.device, image.shape[2:]
    draws = torch.rand(batch_size or len(image), 5, generator=generator)[shard].to(device)
    area = (0.02 + 0.18 * draws[:, 1]) * height * width
    ratio = 0.3 * (1 / 0.09) ** draws[:, 2]                  # height over width, .3 to 3.3
    tall = (area * ratio).sqrt().clamp(max=height)
    wide = (area / ratio).sqrt().clamp(max=width)
    top, left = draws[:, 3] * (height - tall), draws[:, 4] * (width - wide)
    y, x = (torch.arange(side, device=device) + 0.5 for side in (height, width))
    inside = (((y >= top[:, None]) & (y < (top + tall)[:, None]))[:, :, None]
              & ((x >= left[:, None]) & (x < (left + wide)[:, None]))[:, None, :])
    inside &= (draws[:, 0] < chance)[:, None, None]
    return image.masked_fill(inside[:, None], 0.0)


def exchange_channels(image: Tensor, chance: float, generator: torch.Generator,
                      batch_size: int | None = None, shard: slice = slice(None)) -> Tensor:
    """Channel exchange: some visible pictures become three copies of one of their channels.

    Colour is what infrared does not have; half of the visible pictures then do without it.

    Args:
        image: (b, 3, H, W) visible pictures, the rows of `shard`.
        chance: share of pictures that lose their colours.
        generator: on the CPU.
        batch_size, shard: as of `random_erasing`.

    Source: arXiv:2110.04551 (channel augmentation for visible-infrared).
    """
    device = image.device
    draws = torch.rand(batch_size or len(image), 2, generator=generator)[shard].to(device)
    channel = (draws[:, 1] * 3).long()
    alone = image[torch.arange(len(image), device=device), channel][:, None].expand(-1, 3, -1, -1)
    return torch.where((draws[:, 0] < chance)[:, None, None, None], alone, image)
