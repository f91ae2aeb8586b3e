"""A flow chart as Mermaid text, which JupyterLab draws."""
import re


def mermaid(edges: list[tuple[str, str]], direction: str = "LR") -> str:
    """A Markdown block with a Mermaid chart.

    Args:
        edges: (from, to) by name; a name that starts with ``loss:`` ends a path.
        direction: LR or TD.
    """
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    lines = [f"graph {direction}"]
    for name in names:
        box = (f"([{name.removeprefix('loss: ')}])" if name.startswith("loss:") else f"[{name}]")
        lines.append(f"  {_key(name)}{box}")
    lines += [f"  {_key(a)} --> {_key(b)}" for a, b in edges]
    return "\n".join(["```mermaid", *lines, "```"])


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name)
