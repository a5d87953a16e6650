"""Names for the shapes of tensors in public signatures.

Where jaxtyping is imported before this package, the names are its types, and a checker of calls, such
as the one that the tests install, compares every call with them. Else they are `torch.Tensor`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Int, Num, Shaped

    Tokens = Float[Tensor, "batch time"]
    """A number of each token."""
    TokensOrRows = Num[Tensor, "batch time"] | Num[Tensor, " batch"]
    """A number of each token, or one of each sequence."""
    Groups = Int[Tensor, " batch"]
    """Which group of each sequence: those of one prompt have one number."""
    Mask = Bool[Tensor, "batch time"]
    """Which tokens are the response's."""
    AnyMask = Shaped[Tensor, "batch time"]
    """The same as bool or as 0 and 1."""
    Scalar = Float[Tensor, ""]
    """One number."""
    AnyScalar = Num[Tensor, ""]
    """One number, whole or not."""
    Rewards = Num[Tensor, "prompts samples"]
    """A number of each completion, its group in a row."""
    Scored = Bool[Tensor, "prompts samples"]
    """Which completions have a reward."""
    Advantages = Float[Tensor, "prompts samples"]
    """The advantage of each completion."""
else:
    Tokens = TokensOrRows = Groups = Mask = AnyMask = Scalar = AnyScalar = Tensor
    Rewards = Scored = Advantages = Tensor
