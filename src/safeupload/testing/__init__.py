"""
For tests: of an application that takes uploads, and of a storage of your own.

Nothing here is imported by the library, and nothing here imports a test framework.
"""

from safeupload.testing._contract import StorageContract

__all__ = ["StorageContract"]
