"""
Where pictures are kept.

`LocalStorage` is a folder of this machine, `MemoryStorage` a dictionary for tests. Of both, ``read``, ``keys`` and
``path`` are for everybody; the rest is how a transaction works with them, and may change until object stores are here.
"""

from safeupload.storage.local import Durability, LocalStorage
from safeupload.storage.memory import MemoryStorage

__all__ = ["Durability", "LocalStorage", "MemoryStorage"]
