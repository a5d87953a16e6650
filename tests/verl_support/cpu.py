"""verl on CPUs: a platform, gloo under the name that torch takes, Ray on loopback, a rollout.

Loaded while verl itself is imported, so the patches are in place before verl's modules copy the
functions they replace.
"""

import contextlib
import os
import types

import ray._private.services
import torch
import torch.distributed.fsdp
import verl.utils.distributed
import verl.utils.import_utils
import verl.workers.rollout.base as rollouts
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry


class Module(types.ModuleType):
    """torch.cpu, with the memory statistics that verl asks every device for."""

    def mem_get_info(self, *_):
        return 0, 1  # free and total, in bytes

    def get_device_name(self, *_):
        return "CPU"

    def get_rng_state(self, *_):
        return torch.get_rng_state()

    def set_rng_state(self, state, *_):
        torch.set_rng_state(state)

    def __getattr__(self, name):
        if name.startswith(("max_memory", "memory", "empty_cache", "reset_peak", "ipc_collect")):
            return lambda *args, **kwargs: 0
        return getattr(torch.cpu, name)


DEVICE = Module("torch.cpu")


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = "cpu"
    vendor_name = "cpu"
    device_module = DEVICE

    def is_available(self):
        return True

    def current_device(self):
        return torch.device("cpu")  # verl does tensor.to(get_device_id())

    def device_count(self):
        return 1

    def set_device(self, device_index):
        pass

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        return "GPU"  # made up by ray.init(num_gpus=...): verl places its workers by it

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None


class Unpinned(torch.distributed.fsdp.CPUOffloadPolicy):
    """Offloading, as verl asks of its reference model, without the pinned memory that needs a GPU."""

    def __init__(self, pin_memory=True):
        super().__init__(pin_memory=False)


_start = verl.utils.distributed.initialize_global_process_group_ray


def start_with_gloo(timeout_second=None, backend=None):
    """Name gloo once: verl would ask for `cpu:gloo,cpu:gloo`, which torch refuses."""
    return _start(timeout_second, backend="gloo")


# With TRL 1.16 in the same environment verl would look there for a class that has gone.
verl.utils.import_utils.is_trl_available = lambda: False
torch.distributed.fsdp.CPUOffloadPolicy = Unpinned
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
verl.utils.distributed.initialize_global_process_group_ray = start_with_gloo
ray._private.services.is_localhost = lambda host: False  # Ray would leave 127.0.0.1 for the network
rollouts._ROLLOUT_REGISTRY["transformers", "async"] = "verl_support.rollout.Adapter"


def _load_replica():
    from verl_support.rollout import Replica

    return Replica


RolloutReplicaRegistry.register("transformers", _load_replica)
