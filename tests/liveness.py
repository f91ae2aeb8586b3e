"""The question of both liveness tests: does changing one field change anything?"""
from reidlab.config import flatten
from reidlab.config.changes import change

IN_BOTH_TASKS = {  # shown elsewhere, or by other machines alone
    "name": "a label, kept in config.json", "size": "a label, kept in config.json",
    "image.pretrained": "tests/encoders/test_vit.py",
    "training.mixed_precision": "tests/engine/test_precision.py",
    "training.compile": "compiled on CUDA only",
    "training.epochs": "tests/engine/test_loop.py",
    "training.monitor_every": "tests/engine/test_loop.py",
    "training.backbone_lr": "tests/engine/test_optim.py",
    "training.layer_decay": "tests/engine/test_optim.py",
    "training.ema": "tests/engine/test_recipes.py",
    "training.gradient_checkpointing": "tests/engine/test_recipes.py",
    "training.micro_batch": "tests/engine/test_recipes.py",
    "training.workers": "tests/batches/test_loading.py",
    "training.log_every": "tests/engine/test_step.py",
    "training.start": "tests/engine/test_start.py",
    "training.validate_every": "tests/engine/test_loop.py",
    "training.checkpoint_every": "tests/engine/test_resuming.py",
    "training.checkpoint_minutes": "tests/engine/test_checkpoint_writer.py",
    "training.max_grad_norm": "tests/engine/test_loop.py",
}


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
