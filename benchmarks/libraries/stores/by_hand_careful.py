"""By hand, with clean-up."""

from __future__ import annotations

from libraries.stores.by_hand import CAREFUL

STORE = CAREFUL
