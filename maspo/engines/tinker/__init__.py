"""Any objective on Tinker: beside its client, and on its server. Importing this does not import Tinker.

from maspo.engines import tinker

future = training_client.forward_backward_custom(data, tinker.loss("maspo", alpha=0.5))
"""

from maspo.engines.tinker.client import loss, probe, train_step
from maspo.engines.tinker.door import DOOR
from maspo.engines.tinker.server import server_inputs, server_loss

__all__ = ["DOOR", "loss", "probe", "server_inputs", "server_loss", "train_step"]
