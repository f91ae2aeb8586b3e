"""Tokenizer, BERT, pooling: padding never matters, frozen means frozen."""
import pytest
import torch
from transformers import BertConfig, BertModel

from reidlab.config import Text
from reidlab.encoders.bert import CHUNK, TextEncoder, padding_mask
from reidlab.encoders.pooling import MaskedMean, build_pooling
from reidlab.encoders.tokens import Tokens, train_tokenizer
from reidlab.errors import MissingPath

CAPTIONS = [f"A {a} {b} with {c} hair." for a in ("tall", "short") for b in ("man", "woman")
            for c in ("red", "black", "long grey")] * 3
TINY = dict(dim=32, layers=1, heads=4, dropout=0.0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CAPTIONS)


def encoder(tokenizer, **changes):
    torch.manual_seed(0)
    return TextEncoder(Text(**{**TINY, **changes}), tokenizer).eval()


@pytest.mark.covers("E2")
def test_tokens_are_lower_cased_framed_cut_and_padded(tokenizer):
    tokens = Tokens(tokenizer, max_length=8)
    assert tokens.ids("A TALL Man") == tokens.ids("a tall man")
    ids, mask = tokens(["a tall man", "a " * 40], length=8)
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert ids.shape == mask.shape == (2, 8)
    assert ids[0, 0] == ids[1, 0] == first and ids[1, 7] == last  # cut, the end mark kept
    assert mask[0].tolist() == [1] * 5 + [0] * 3 and (ids[0, 5:] == tokenizer.pad_token_id).all()


def test_the_vocabulary_is_the_same_in_any_order_of_captions(tokenizer):
    assert train_tokenizer(CAPTIONS[::-1]).get_vocab() == tokenizer.get_vocab()
    assert tokenizer.tokenize("grey xylophone")[0] == "grey"
    assert len(tokenizer.tokenize("manhair")) > 1  # words it never saw fall into pieces


@pytest.mark.covers("E9")
def test_ids_are_kept_bounded_and_the_same_as_fresh_ones(tokenizer, monkeypatch):
    tokens = Tokens(tokenizer, 16, keep=2)
    calls = []
    monkeypatch.setattr(tokens, "tokenizer", lambda text, **k: calls.append(text) or tokenizer(
        text, **k))
    first = tokens.ids("a tall man")
    assert tokens.ids("a tall man") == first == tokenizer("a tall man")["input_ids"]
    assert calls == ["a tall man"]
    tokens.ids("red hair"), tokens.ids("black hair"), tokens.ids("a tall man")
    assert calls.count("a tall man") == 2 and len(tokens._kept) == 2


@pytest.mark.covers("E6", "E7")
@pytest.mark.parametrize("changes", [{"pooling": "masked_mean"}, {"pooling": "cls"},
                                     {"pooling": "masked_mean", "attention": True}])
def test_padding_never_changes_the_result(tokenizer, changes):
    bert, texts = encoder(tokenizer, **changes), ["a tall man with red hair", "a woman"]
    short, long = bert(texts), bert(texts, length=64)
    alone = torch.cat([bert([t]) for t in texts])
    assert torch.allclose(short, long, atol=1e-5) and torch.allclose(short, alone, atol=1e-5)


def test_masked_words_get_no_attention(tokenizer):
    bert = encoder(tokenizer, attention=True)
    ids, mask = bert.tokens(["a tall man", "a short woman with long grey hair"])
    states = torch.randn(*ids.shape, 32)
    _, weights = bert.attention(states, states, states, key_padding_mask=mask == 0)
    assert weights[0][:, mask[0] == 0].abs().max() == 0
    assert torch.allclose(weights.sum(-1), torch.ones(*ids.shape), atol=1e-5)


def test_many_texts_in_length_groups_equal_one_by_one(tokenizer):
    bert = encoder(tokenizer, pooling="masked_mean")
    texts = (CAPTIONS * 8)[: 2 * CHUNK + 7]
    assert torch.allclose(bert(texts), torch.cat([bert([t]) for t in texts]), atol=1e-5)


def test_masked_mean_by_hand():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert MaskedMean()(tokens, torch.tensor([[1, 1, 0]])).item() == 2
    assert MaskedMean()(tokens, torch.tensor([[0, 0, 0]])).item() == 0
    with pytest.raises(ValueError, match="known: cls, masked_mean"):
        build_pooling("median", 8)


@pytest.mark.covers("E8")
@pytest.mark.parametrize("trainable", [True, False])
def test_bert_gets_a_gradient_exactly_when_trainable(tokenizer, trainable):
    bert = encoder(tokenizer, trainable=trainable, attention=True, pooling="masked_mean").train()
    bert(["a tall man", "a woman"]).square().sum().backward()
    got = [n for n, p in bert.bert.named_parameters() if p.grad is not None and p.grad.any()]
    assert bool(got) == trainable and bert.attention.in_proj_weight.grad.any()
    assert bert.bert.training == trainable  # a frozen BERT has no dropout either


def test_frozen_states_are_computed_once_a_caption(tokenizer):
    frozen = encoder(tokenizer, trainable=False, pooling="masked_mean")
    frozen.cache_texts(CAPTIONS)
    calls = []
    frozen.bert.register_forward_hook(lambda *a: calls.append(1))
    first = frozen(CAPTIONS[:4])
    again = frozen(CAPTIONS[:4])
    assert len(calls) == 1 and torch.equal(first, again)
    ids, mask = frozen.tokens(CAPTIONS[:4])
    plain = MaskedMean()(frozen.bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
    assert torch.allclose(first, plain, atol=1e-5)


def test_bag_of_words(tokenizer):
    tokens = Tokens(tokenizer, 16)
    bag = tokens.bag(["red red hair", "hair"])
    red = tokenizer.convert_tokens_to_ids("red")
    assert bag[:, red].tolist() == [1, 0] and bag.max() == 1


@pytest.mark.covers("E3")
def test_missing_weights_are_named_with_both_ways_to_get_them(tokenizer, tmp_path):
    gone = str(tmp_path / "bert")
    with pytest.raises(FileNotFoundError, match="is not there") as fault:
        TextEncoder(Text(pretrained=gone))
    assert isinstance(fault.value, MissingPath) and gone in str(fault.value)
    assert "folder" in str(fault.value) and "hub" in str(fault.value)
    (tmp_path / "bert").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no complete model"):
        TextEncoder(Text(pretrained=gone))


@pytest.mark.covers("E2")
def test_local_weights_load_exactly(tokenizer, tmp_path):
    made = encoder(tokenizer, pooling="masked_mean")
    made.bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    read = TextEncoder(Text(pretrained=str(tmp_path), **TINY | {"pooling": "masked_mean"})).eval()
    assert torch.allclose(read(CAPTIONS[:3]), made(CAPTIONS[:3]), atol=1e-6)


@pytest.mark.covers("E6")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_mask_that_no_device_waits_for_is_the_library_s_own(attention):
    bert = BertModel(BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2,
                                num_attention_heads=4, intermediate_size=64,
                                attn_implementation=attention)).eval()
    ids, mask = torch.randint(40, (3, 7)), torch.ones(3, 7).long()
    mask[1, 4:], mask[2, 1:] = 0, 0
    ours, theirs = (bert(input_ids=ids, attention_mask=given).last_hidden_state
                    for given in (padding_mask(mask, attention), mask))
    assert torch.allclose(ours[mask == 1], theirs[mask == 1], atol=1e-6)
    whole = bert(input_ids=ids).last_hidden_state
    assert not torch.allclose(whole[mask == 1], theirs[mask == 1], atol=1e-3)
