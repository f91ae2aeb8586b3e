"""Pictures to tensors, and the changes that training makes to them. B batch, H × W pixels."""
import kornia.enhance
import numpy as np
import torch
from torch import Tensor

from reidlab.config.text_image import Data
from reidlab.data.packing import to_tensor


def augment(images: np.ndarray, data: Data, generator: torch.Generator, batch_size: int,
            shard: slice) -> Tensor:
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
        image = image.add(1).div(2)
        image = kornia.enhance.adjust_brightness_accumulative(image, light)
        image = kornia.enhance.adjust_contrast_with_mean_subtraction(image, contrast)
        image = image.mul(2).sub(1)
    return image.contiguous()
