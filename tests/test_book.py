"""The book that ``make book`` has just built: links lead somewhere, pictures are there."""
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[1] / "runs" / "book"
PAGES = sorted(f for f in SITE.rglob("*.html") if "_static" not in f.parts)
pytestmark = pytest.mark.skipif(not PAGES, reason="there is no book yet; make book builds it")


class Page(HTMLParser):
    """What a page links to, what it shows, and the places in it."""

    def __init__(self, file: Path):
        super().__init__()
        self.links: set[str] = set()
        self.pictures: set[str] = set()
        self.places: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.places |= {said[name] for name in ("id", "name") if said.get(name)}
        if tag == "a" and said.get("href"):
            self.links.add(said["href"])
        if tag == "img":
            self.pictures.add(said["src"])


read = cache(Page)


@pytest.mark.parametrize("file", PAGES, ids=lambda f: str(f.relative_to(SITE)))
def test_every_link_and_every_picture_of_a_page_is_there(file):
    page = read(file)
    for link in page.links | page.pictures:
        to = urlsplit(link)
        if to.scheme in ("http", "https", "mailto", "data"):
            continue
        target = (file.parent / unquote(to.path)).resolve() if to.path else file
        assert target.is_file(), link
        if to.fragment and target.suffix == ".html":
            assert unquote(to.fragment) in read(target).places, link
    assert not [src for src in page.pictures if src.startswith("http")]


def test_every_chapter_is_in_the_book_and_shows_its_pictures():
    chapters = sorted((SITE.parents[1] / "notebooks").glob("*.ipynb"))
    for chapter in chapters:
        page = read(SITE / "notebooks" / f"{chapter.stem}.html")
        assert page.pictures, chapter.stem
    front = read(SITE / "README.html")
    assert {f"notebooks/{chapter.stem}.html" for chapter in chapters} <= front.links
