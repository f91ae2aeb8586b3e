"""Small published weights of every family, made on the spot and saved as a hub would give them."""
from pathlib import Path

from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
)

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = SHAPE | {"intermediate_size": 64}
SEEN = {"image_size": 64, "patch_size": 16}


def clip_tokenizer() -> CLIPTokenizer:
    """Letters, each as it is and as the end of a word: any text can be cut into them."""
    letters = [*"abcdefghijklmnopqrstuvwxyz.,"]
    entries = [*letters, *(f"{x}</w>" for x in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={entry: k for k, entry in enumerate(entries)}, merges=[])


def make_clip(folder: Path) -> CLIPModel:
    """Both towers of different widths, and their tokenizer."""
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=40,
                          eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
                          pad_token_id=tokenizer.pad_token_id, projection_dim=24,
                          **WIDE | {"hidden_size": 16})
    vision = CLIPVisionConfig(projection_dim=24, **WIDE, **SEEN)
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), projection_dim=24,
                                 vision_config=vision.to_dict())).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def make_siglip(folder: Path) -> SiglipModel:
    """Both towers; only the picture's is read."""
    model = SiglipModel(SiglipConfig(
        text_config=SiglipTextConfig(vocab_size=60, **WIDE).to_dict(),
        vision_config=SiglipVisionConfig(**WIDE, **SEEN).to_dict())).eval()
    model.save_pretrained(folder)
    return model


def make_dinov2(folder: Path, registers: int = 0) -> Dinov2Model:
    """With or without registers."""
    model = (Dinov2WithRegistersModel(Dinov2WithRegistersConfig(
        num_register_tokens=registers, **SHAPE, **SEEN)) if registers else
        Dinov2Model(Dinov2Config(**SHAPE, **SEEN))).eval()
    model.save_pretrained(folder)
    return model
