"""Python's collector of cycles: it need not look again and again at what lives as long as the process, but it has to
find what an unloaded model leaves behind.
"""

import gc

from kserve_v2.memory.allocator import return_freed_memory


def freeze() -> None:
    """What is alive now, after the start, is not looked at any more until a model goes."""
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Free all cycles, those among models that were loaded at the start too, and give the memory to the system.

    Blocks all threads while it searches. What was frozen is not frozen again: among it would be what belongs to
    connections and requests of now.
    """
    gc.unfreeze()
    gc.collect()
    return_freed_memory()
