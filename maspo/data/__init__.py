"""Problems with checkable answers, from files, the hub and procedural generators."""

from maspo.data.arithmetic import arithmetic_problems
from maspo.data.loading import load_problems
from maspo.data.problems import Problem

__all__ = ["Problem", "arithmetic_problems", "load_problems"]
