"""What may ask: words, a photo, or a photo with words."""
import pytest
from PIL import Image

from reidlab.__main__ import main
from reidlab.engine.search import Searcher, search
from reidlab.errors import MissingPath, ReidlabError

SAID = "a tall man with red hair, wearing a blue coat"


@pytest.fixture(scope="module")
def searcher(run):
    return Searcher(run)


@pytest.fixture(scope="module")
def photo(searcher, tmp_path_factory):
    """The first picture of the gallery, as a file."""
    file = tmp_path_factory.mktemp("photo") / "somebody.png"
    Image.fromarray(searcher.picture(0)).save(file)
    return file


def scores(searcher, **asked):
    hits = searcher.find(k=len(searcher.paths), **asked)
    return {h.path: (h.id_score, h.cloth_score) for h in hits}


def test_a_photo_finds_itself_by_either_half_and_by_both(searcher, photo):
    for by in ("identity", "clothing", "both", None):
        assert searcher.find(photo=photo, by=by, k=1)[0].path == searcher.paths[0]
    found = scores(searcher, photo=photo)
    assert found[searcher.paths[0]] == pytest.approx((1, searcher.cloth_weight), abs=1e-4)
    assert {c for _, c in scores(searcher, photo=photo, by="identity").values()} == {0}
    assert {i for i, _ in scores(searcher, photo=photo, by="clothing").values()} == {0}


def test_a_photo_gives_the_person_and_words_the_clothes_or_the_other_way_round(searcher, photo):
    of_photo, of_words = scores(searcher, photo=photo), scores(searcher, text=SAID)
    composed = scores(searcher, text=SAID, photo=photo)
    converse = scores(searcher, text=SAID, photo=photo, by="clothing")
    for path in searcher.paths:
        assert composed[path] == pytest.approx((of_photo[path][0], of_words[path][1]), abs=1e-5)
        assert converse[path] == pytest.approx((of_words[path][0], of_photo[path][1]), abs=1e-5)
    assert scores(searcher, text=SAID, photo=photo, by="both") == of_photo


@pytest.mark.slow
def test_the_command_takes_a_photo_and_draws_what_it_found(run, photo, tmp_path, capsys):
    assert main(["search", str(run), "--photo", str(photo), "-k", "3", "--draw",
                 str(tmp_path / "a.png")]) == 0
    assert "drawn in" in capsys.readouterr().out and (tmp_path / "a.png").exists()
    assert main(["search", str(run), "wearing a red coat", "--photo", str(photo), "-k", "3",
                 "--draw", str(tmp_path / "b.png")]) == 0


def test_what_cannot_ask_is_refused_before_the_run_is_loaded(run, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("reidlab.engine.search.Searcher", lambda *given: 1 / 0)
    with pytest.raises(ReidlabError, match="the description is empty"):
        search(run)
    with pytest.raises(ReidlabError, match="by=identity says what a photo gives; name a photo"):
        search(run, SAID, by="identity")
    with pytest.raises(ReidlabError, match="by is 'shoes'; known: identity, clothing, both"):
        search(run, photo=photo, by="shoes")
    with pytest.raises(MissingPath, match="gone.png is missing"):
        search(run, photo=tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("dear")
    with pytest.raises(ReidlabError, match="text.png .*leave it out"):
        search(run, photo=tmp_path / "text.png")
    with pytest.raises(ReidlabError, match="known to describe a person"):
        search(run, "xyzzy", photo=photo)
