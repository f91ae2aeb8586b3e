"""Words in, tokens out: tokenizer, BERT, and the extra self-attention of note 003.

Shapes: B batch, L tokens, D width.
"""
import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer

from reidlab.config import Text
from reidlab.encoders.pooling import build_pooling
from reidlab.encoders.pretrained import load_pretrained, refuse_another_shape
from reidlab.encoders.vit import fast_attention
from reidlab.errors import ReidlabError

log = logging.getLogger(__name__)
CHUNK = 64  # texts that are padded together
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


class TextEncoder(nn.Module):
    """BERT, optionally one more self-attention, and pooling.

    Args:
        config: the experiment's text part.
        tokenizer: None loads the one beside the pretrained weights.

    Source: note 001 §2.10 (CLS), note 003 §3 (frozen, self-attention, masked mean).
    """

    def __init__(self, config: Text, tokenizer=None):
        super().__init__()
        self.config = config
        if tokenizer is None:
            if not config.pretrained:
                raise ValueError("a text encoder from scratch needs a tokenizer: train_tokenizer()")
            tokenizer = load_pretrained(BertTokenizer, config.pretrained, do_lower_case=True)
        if config.pretrained:
            self.bert = load_pretrained(BertModel, config.pretrained, add_pooling_layer=False,
                                        attn_implementation=fast_attention(),
                                        dtype=torch.float32,
                                        hidden_dropout_prob=config.dropout,
                                        attention_probs_dropout_prob=config.dropout)
            held = self.bert.config
            refuse_another_shape("text", config, {
                "dim": held.hidden_size, "layers": held.num_hidden_layers,
                "heads": held.num_attention_heads, "activation": held.hidden_act})
        else:
            options: dict[str, Any] = {"attn_implementation": fast_attention()}
            self.bert = BertModel(BertConfig(
                vocab_size=len(tokenizer), hidden_size=config.dim,
                num_hidden_layers=config.layers, num_attention_heads=config.heads,
                intermediate_size=4 * config.dim, hidden_act=config.activation,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                max_position_embeddings=max(64, config.max_length),
                **options), add_pooling_layer=False)
        positions = self.bert.config.max_position_embeddings
        if positions < config.max_length:
            log.info("captions are cut behind %d tokens, all that %s has positions for; "
                     "text.max_length is %d", positions, config.pretrained, config.max_length)
        self.tokens = Tokens(tokenizer, min(config.max_length, positions))
        self.frozen = None if config.trainable else FrozenStates(self.bert)
        self.dim = self.bert.config.hidden_size
        if config.attention:
            self.attention = nn.MultiheadAttention(self.dim, 4, dropout=config.dropout,
                                                   batch_first=True)
            self.attention_norm = nn.LayerNorm(self.dim)
        self.pool = build_pooling(config.pooling, self.dim)

    def train(self, mode: bool = True):
        """A frozen BERT stays in eval mode: its dropout would be noise that nothing can learn."""
        super().train(mode)
        if self.frozen:
            self.bert.eval()
        return self

    def states(self, texts: Sequence[str], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Token states (B, L, D) and mask (B, L)."""
        device = self.bert.embeddings.word_embeddings.weight.device
        if self.frozen and length is None and device.type == "cpu":
            states, mask = self.frozen(texts, self.tokens)
        else:  # an accelerator encodes faster than it is handed what was kept
            ids, mask = (t.to(device) for t in self.tokens(texts, length))
            states = self.bert(input_ids=ids, attention_mask=padding_mask(
                mask, self.bert.config._attn_implementation)).last_hidden_state
        if self.config.attention:
            mixed, _ = self.attention(states, states, states, need_weights=False,
                                      key_padding_mask=mask == 0)
            states = self.attention_norm(states + mixed)
        return states, mask

    def forward(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """(B, D) pooled vectors of B strings.

        Short and long texts go through apart, which halves the padding; with masked attention
        that changes no number.
        """
        if length is not None or len(texts) < 2 * CHUNK:
            return self.pool(*self.states(texts, length))
        order = sorted(range(len(texts)), key=lambda k: len(self.tokens.ids(texts[k])))
        chunks = [order[k:k + CHUNK] for k in range(0, len(order), CHUNK)]
        pooled = [self.pool(*self.states([texts[k] for k in chunk])) for chunk in chunks]
        back = torch.tensor(order, device=pooled[0].device).argsort()
        return torch.cat(pooled)[back]

    def cache_texts(self, texts: Sequence[str]) -> None:
        """Name the texts that training will ask for again and again."""
        self.tokens.cache_texts(texts)
        if self.frozen:
            self.frozen.cache_texts(texts)


def padding_mask(mask: Tensor, attention: str) -> Tensor:
    """(B, L) of ones and zeros → (B, 1, 1, L), as the library's attention takes it.

    Handed (B, L), the library looks whether there is padding at all, and waits for the device.

    Args:
        mask: 1 where there is a word.
        attention: ``sdpa`` reads booleans, ``eager`` adds.
    """
    real = mask[:, None, None] != 0
    if attention == "sdpa":
        return real
    return torch.zeros(real.shape, device=mask.device).masked_fill(
        ~real, torch.finfo(torch.float32).min)


class FrozenStates:
    """Runs a frozen BERT once a caption instead of once a step.

    Known captions are encoded in fixed groups, so that a state never depends on which batch
    asked for it first: a resumed run sees the same last digits. Not a module: it owns no
    weights, only what they once gave.

    Args:
        bert: put into eval mode and frozen here.
        keep: groups whose states are kept in memory; the oldest go first.
    """

    GROUP = 128

    def __init__(self, bert: BertModel, keep: int = 2000):
        self.bert = bert.eval().requires_grad_(False)
        self.keep = keep
        self._place: dict[str, tuple[int, int]] = {}
        self._groups: list[list[str]] = []
        self._kept: OrderedDict[int, list[Tensor]] = OrderedDict()

    def cache_texts(self, texts: Sequence[str]) -> None:
        """Name the texts that will come again, for example all training captions."""
        unique = list(dict.fromkeys(texts))
        self._groups = [unique[k:k + self.GROUP] for k in range(0, len(unique), self.GROUP)]
        self._place = {text: (g, k) for g, group in enumerate(self._groups)
                       for k, text in enumerate(group)}
        self._kept.clear()

    def __call__(self, texts: Sequence[str], tokens: Tokens) -> tuple[Tensor, Tensor]:
        """States (B, L, D), zero in padded places, and mask (B, L)."""
        others = [t for t in dict.fromkeys(texts) if t not in self._place]
        fresh = dict(zip(others, self._encode(others, tokens), strict=True)) if others else {}
        rows = [fresh[t] if t in fresh else self._recall(*self._place[t], tokens) for t in texts]
        states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        counts = torch.tensor([len(row) for row in rows])
        return states, (torch.arange(states.shape[1]) < counts[:, None]).long()

    def _recall(self, group: int, k: int, tokens: Tokens) -> Tensor:
        if group not in self._kept:
            self._kept[group] = self._encode(self._groups[group], tokens)
            if len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        return self._kept[group][k]

    @torch.no_grad()
    def _encode(self, texts: Sequence[str], tokens: Tokens) -> list[Tensor]:
        ids, mask = tokens(texts)
        device = self.bert.embeddings.word_embeddings.weight.device
        states = self.bert(input_ids=ids.to(device), attention_mask=mask.to(device))
        return [state[:count].clone() for state, count in
                zip(states.last_hidden_state.float().cpu(), mask.sum(1).tolist(), strict=True)]


def read_tokenizer(folder: Path) -> BertTokenizer:
    """The tokenizer that was trained with a run, from its folder.

    Raises:
        ReidlabError: there is none, or it is damaged.
    """
    try:
        found = BertTokenizer.from_pretrained(folder)
    except Exception as fault:  # a damaged folder fails in many ways inside the library
        raise ReidlabError(f"{folder} holds no tokenizer; the run is incomplete, train it "
                           "again in a new folder") from fault
    if len(found) <= len(SPECIAL):  # the library makes up an empty one where the file is gone
        raise ReidlabError(f"{folder} holds a tokenizer without words; the run is damaged, "
                           "train it again in a new folder")
    return found
