"""What a batch says of its rows, so that no loss has to look at words or count."""
import dataclasses

import pytest

from reidlab.batches.text_image import Batches
from reidlab.data.records import Split
from tests.conftest import mini


@pytest.mark.parametrize("unknown", [False, True])
def test_a_batch_says_where_a_caption_is_empty_and_whether_all_outfits_are_known(data, unknown):
    records = [dataclasses.replace(
        r, outfit=-1 if unknown and k % 3 == 0 else r.outfit,
        id_captions=tuple("" for _ in r.id_captions) if k % 2 else r.id_captions,
        cloth_captions=tuple("" for _ in r.cloth_captions) if k % 5 else r.cloth_captions)
        for k, r in enumerate(data.train.records)]
    batch = Batches(Split(records, data.train.images), mini())(0)
    assert batch.says_id.tolist() == [text != "" for text in batch.id_text]
    assert batch.says_cloth.tolist() == [text != "" for text in batch.cloth_text]
    assert 0 < batch.says_id.sum() < 32 and 0 < batch.says_cloth.sum() < 32
    assert batch.outfits_known != unknown and (batch.outfit < 0).any() == unknown
