"""Run under torchrun: an evaluation on two gloo processes; each tells which samples it drew itself."""

import json
import sys
from pathlib import Path

from accelerate import PartialState
from test_evaluations import DRAW, Letters, begun, drawn

from maspo.engines.trl.processes import AccelerateProcesses
from maspo.evaluation.drawing import draw_missing
from maspo.evaluation.folder import EvaluationFolder

PartialState(cpu=True)  # as the settings of a run make it
path, processes, mine = Path(sys.argv[1]), AccelerateProcesses(), []


class Noted(Letters):
    """Writes down what is drawn in this process."""

    def sample(self, *given):
        for samples in super().sample(*given):
            mine.extend((one.problem_id, one.index) for one in samples)
            yield samples


folder = begun(path) if processes.first else EvaluationFolder(path)
processes.wait()
assert draw_missing(folder, DRAW, Noted, processes=processes)
shares = processes.gather(mine)
if processes.first:
    print(
        json.dumps({"backend": PartialState().backend, "shares": shares, "all": [*drawn(folder)]})
    )
