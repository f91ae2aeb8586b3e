"""Markdown tables."""


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table.

    Args:
        head: names of the columns.
        rows: cells, as many as columns in each row.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
