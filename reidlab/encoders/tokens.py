"""Captions to ids: tokenizers of any kind, and what is kept of their work.

Shapes: B batch, L tokens, V vocabulary.
"""
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor
from transformers import BertTokenizer

from reidlab.encoders.pretrained import load_pretrained, model_type
from reidlab.encoders.published import CLIP_TEXT
from reidlab.errors import ReidlabError
from reidlab.files import read_json

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_tokenizer(captions: Sequence[str], words: int = 2000) -> BertTokenizer:
    """A lower-casing WordPiece tokenizer of the words in `captions`, without any download.

    Its vocabulary is every letter and the most frequent whole words, ordered by count and
    spelling: unlike a trained merge order it is the same in every process, so that a seed fixes a
    run. Unknown words fall into letters.

    Args:
        captions: training captions only.
        words: most words of the vocabulary; those seen once are left out.
    """
    normalize, cut = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts = Counter(word for caption in captions for word, _ in
                     cut.pre_tokenize_str(normalize.normalize_str(caption)))
    letters = sorted(set("".join(counts)))
    frequent = sorted((w for w, n in counts.items() if n > 1 and len(w) > 1),
                      key=lambda w: (-counts[w], w))[:words]
    entries = dict.fromkeys([*SPECIAL, *letters, *(f"##{x}" for x in letters), *frequent])
    return BertTokenizer(vocab={entry: k for k, entry in enumerate(entries)}, do_lower_case=True)


def published_tokenizer(where: str) -> Any:
    """The tokenizer beside pretrained weights.

    Raises:
        MissingPath: there is none.
    """
    if model_type(where) in CLIP_TEXT:
        return load_pretrained(transformers.CLIPTokenizer, where)
    return load_pretrained(BertTokenizer, where, do_lower_case=True)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a run, from its folder.

    Raises:
        ReidlabError: there is none, or it is damaged.
    """
    try:
        said = read_json(folder / "tokenizer_config.json").get("tokenizer_class", "")
        found = (transformers.CLIPTokenizer if said.startswith("CLIP") else BertTokenizer
                 ).from_pretrained(folder)
    except Exception as fault:  # a damaged folder fails in many ways inside the library
        raise ReidlabError(f"{folder} holds no tokenizer; the run is incomplete, train it "
                           "again in a new folder") from fault
    if len(found) <= len(SPECIAL):  # the library makes up an empty one where the file is gone
        raise ReidlabError(f"{folder} holds a tokenizer without words; the run is damaged, "
                           "train it again in a new folder")
    return found


class Tokens:
    """Turns strings into ids once; the ids of recent texts are kept.

    Args:
        tokenizer: a Hugging Face tokenizer.
        max_length: longest sequence, [CLS] and [SEP] included; the rest is cut.
        keep: texts whose ids are kept (note 003, ``text_cache``).
    """

    def __init__(self, tokenizer, max_length: int, keep: int = 200_000):
        self.tokenizer, self.max_length, self.keep = tokenizer, max_length, keep
        self._kept: OrderedDict[str, list[int]] = OrderedDict()

    def ids(self, text: str) -> list[int]:
        """``[CLS] … [SEP]`` without padding."""
        if text in self._kept:
            self._kept.move_to_end(text)
        else:
            self._kept[text] = self.tokenizer(
                text, truncation=True, max_length=self.max_length)["input_ids"]
            if len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        return self._kept[text]

    def cache_texts(self, texts: Sequence[str]) -> None:
        """Cut the texts that training will ask for at once: ten times as fast as one by one."""
        unique = list(dict.fromkeys(texts))[-self.keep:]
        cut = self.tokenizer(unique, truncation=True, max_length=self.max_length)["input_ids"]
        self._kept = OrderedDict(zip(unique, cut, strict=True))

    def __call__(self, texts: Sequence[str], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Ids and mask, (B, L) each.

        Args:
            texts: B strings.
            length: L; None pads to the longest text, which gives the same encodings as the
                notes' fixed length and costs less.
        """
        rows = [self.ids(text) for text in texts]
        length = length or max(map(len, rows))
        ids = np.full((len(rows), length), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for k, row in enumerate(rows):  # in NumPy: a torch slice costs ten times as much
            ids[k, :len(row)] = row
            mask[k, :len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def bag(self, texts: Sequence[str], device="cpu") -> Tensor:
        """(B, V) float: 1 where a text holds the vocabulary entry. Ids go to the device, and the
        wide table is made there."""
        ids, mask = self(texts)
        ids = torch.where(mask == 1, ids, ids[:, :1])  # every text begins with [CLS]
        words = torch.zeros(len(texts), len(self.tokenizer), device=device)
        return words.scatter_(1, ids.to(device), 1.0)
