"""Pictures to tensors, and the changes that training makes to them. B batch, H × W pixels."""
import numpy as np
import torch
from torch import Tensor

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data.packing import to_tensor

GREY = torch.tensor([0.299, 0.587, 0.114])  # brightness of red, green and blue, ITU-R BT.601


def augment(images: np.ndarray, data: Data | InfraredData, generator: torch.Generator,
            batch_size: int, shard: slice) -> Tensor:
    """Mirror, shift and relight pictures, each by its own draw.

    Draws are made for the whole batch and cut to the shard, so processes agree. Mirroring and
    shifting are one look-up of bytes; what is shifted in repeats the border.

    Args:
        images: (b, H, W, 3) uint8 of the shard.

    Returns:
        (b, 3, H, W) float, in [-1, 1] but for the relighting.
    """
    draws = torch.rand(batch_size, 5, generator=generator)[shard]
    height, width = images.shape[1:3]
    down, right = (draws[:, 3:].numpy() * (2 * data.crop_padding + 1)).astype(
        int
    ).T - data.crop_padding
    rows = np.clip(down[:, None] + np.arange(height), 0, height - 1)
    columns = np.clip(right[:, None] + np.arange(width), 0, width - 1)
    mirrored = draws[:, 0].numpy() < data.flip
    columns[mirrored] = width - 1 - columns[mirrored]
    image = to_tensor(np.stack([picture[down].take(across, axis=1) for picture, down, across
                                in zip(images, rows, columns, strict=True)]))
    if data.jitter:
        light, contrast = (1 + data.jitter * (2 * draws[:, 1:3] - 1)).T
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
    grey = torch.addcmul(torch.addcmul(red * GREY[0], green, GREY[1]), blue, GREY[2])
    mean = grey.unsqueeze(1).mean((-2, -1), True)
    return (image * contrast + mean * (1 - contrast)).clamp(0, 1)
