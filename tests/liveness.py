"""The question of both liveness tests: does changing one field change anything?"""
from reidlab.config import flatten
from reidlab.config.changes import change


def second(name, value, others):
    """Another value of a field: the one in `others`, else twice or the opposite of its own."""
    if name in others:
        return others[name]
    if isinstance(value, bool):
        return not value
    if value is None:
        return 3
    return value * 2 if value else 1


def assert_alive(name, base, others, observe, seen_before, changes=None):
    """Changing `name` changes what `observe` sees; a value that is refused proves nothing."""
    key = tuple(sorted(flatten(base).items(), key=lambda item: item[0]))
    if key not in seen_before:
        seen_before[key] = observe(base)
        assert observe(base) == seen_before[key]  # the observer itself is steady
    changes = changes or {name: second(name, flatten(base)[name], others)}
    assert observe(change(base, changes)) != seen_before[key], name
