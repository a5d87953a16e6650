"""Ask a Ray worker for policy losses by name; the last line of the output is JSON."""

import json
import os

from verl_support.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import ray
import verl  # noqa: F401


@ray.remote
def look_up(names):
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    found = {"pid": os.getpid()}
    for name in names:
        try:
            found[name] = get_policy_loss_fn(name).objective_name
        except ValueError as error:
            found[name] = str(error)
    return found


ray.init(num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False)
answer = ray.get(look_up.remote(["maspo", "maspo.gspo", "no_such_loss"]))
ray.shutdown()
print(json.dumps({**answer, "driver": os.getpid()}))
