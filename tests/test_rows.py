"""Every part that is promised is proven where it is named, and a wrong version is noticed there."""
import pytest

from tests import rows
from tests.mutants import ROOT, killed, mutants

PRODUCT = [row for row in rows.rows() if not row.startswith(rows.TAUGHT)]


def test_every_promised_row_is_proven_and_no_other_is_named():
    assert rows.named() == set(rows.rows()) and len(rows.rows()) == 131


@pytest.mark.parametrize("row", PRODUCT)
def test_every_row_of_the_product_has_a_wrong_version_that_one_of_its_tests_noticed(row):
    """``make mutants`` writes down which test it was."""
    noticed, own = killed(), [one for one in mutants() if one.row == row]
    assert own
    for one in own:
        assert (ROOT / one.file).read_text().count(one.old) == 1, one
        assert one.digest in noticed, f"{one} was not noticed yet: make mutants"
        assert noticed[one.digest].split("[")[0] in rows.tests_of(row), one


def test_the_page_of_rows_says_what_is_there():
    said = rows.DOCUMENT.read_text()
    assert said == rows.document(), "python -m tests.rows writes it"
    for row, of in rows.rows().items():
        if figure := of.get("figure"):
            assert (ROOT / "figures" / f"{figure}.svg").exists(), (row, figure)
