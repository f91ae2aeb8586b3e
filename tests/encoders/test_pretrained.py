"""Weights by name: which folder, which digest, and what is told where there is none."""
import pytest
import torch
from safetensors.torch import save_file

from reidlab.encoders import pretrained
from reidlab.encoders.pretrained import digest, located, says
from reidlab.errors import MissingPath


@pytest.fixture()
def shipped(tmp_path, monkeypatch):
    """A package that ships one encoder."""
    folder = tmp_path / "pretrained" / "vit"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "vit", "stem": true}')
    save_file({"x": torch.zeros(3)}, folder / "model.safetensors")
    monkeypatch.setattr(pretrained, "SHIPPED", folder.parent)
    return folder


def test_a_name_of_the_package_is_a_folder_and_other_names_stay(shipped):
    assert located("reidlab:vit") == str(shipped)
    assert located("bert-base-uncased") == "bert-base-uncased" and located("a/b") == "a/b"
    assert says("reidlab:vit", "stem") and not says("reidlab:vit", "height")
    with pytest.raises(MissingPath, match="reidlab ships reidlab:vit; choose"):
        located("reidlab:bert")
    with pytest.raises(MissingPath, match="'reidlab:../vit'"):
        located("reidlab:../vit")


def test_a_digest_follows_the_weights_alone(shipped, tmp_path):
    before = digest("reidlab:vit")
    assert before == digest(str(shipped)) and len(before) == 16
    (shipped / "config.json").write_text("{}")
    assert digest("reidlab:vit") == before
    save_file({"x": torch.ones(3)}, shipped / "model.safetensors")
    assert digest("reidlab:vit") != before
    assert digest(None) is digest("bert-base-uncased") is digest(str(tmp_path / "gone")) is None
    assert digest("x" * 5000) is digest("a\0b") is digest(str(tmp_path)) is None
    (tmp_path / "odd" / "model.safetensors").mkdir(parents=True)
    assert digest(str(tmp_path / "odd")) is None
