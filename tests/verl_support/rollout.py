"""A rollout of verl that samples with transformers: an actor for each replica, in batches."""

import asyncio
import os

import ray
import torch
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

PATIENCE = 0.05
"""Seconds that a request waits for others to share its batch."""


def server_name(replica):
    return f"transformers_server_{replica}_0"


class Server:
    """Holds a copy of the model and answers requests."""

    def __init__(self, path, response_length, seed):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.response_length = response_length
        self.waiting = []
        self.updates = 0
        self.global_steps = None

    async def generate(self, prompt_ids, sampling_params, request_id, **_):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((list(prompt_ids), sampling_params, future))
        if len(self.waiting) == 1:
            asyncio.get_running_loop().call_later(PATIENCE, self.answer_all)
        return await future

    def answer_all(self):
        waiting, self.waiting = self.waiting, []
        kinds = {}
        for prompt, params, future in waiting:
            key = params.get("temperature", 1.0), params.get("top_p", 1.0)
            kinds.setdefault(key, []).append((prompt, future))
        for (temperature, top_p), requests in kinds.items():
            outputs = self.sample([prompt for prompt, _ in requests], temperature, top_p)
            for (_, future), output in zip(requests, outputs, strict=True):
                future.set_result(output)

    @torch.no_grad()
    def sample(self, prompts, temperature, top_p):
        stop = self.model.generation_config.eos_token_id
        stops = stop if isinstance(stop, list) else [stop]
        width = max(map(len, prompts))
        ids = torch.tensor([[stops[0]] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        found = self.model.generate(
            ids,
            attention_mask=mask,
            do_sample=temperature > 0,
            **({"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}),
            max_new_tokens=self.response_length,
            pad_token_id=stops[0],
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = found.sequences[:, width:]
        logits = torch.stack(found.logits, dim=1).float() / (temperature or 1.0)
        scores = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        return [
            self.output(t.tolist(), s.tolist(), stops) for t, s in zip(tokens, scores, strict=True)
        ]

    def output(self, tokens, scores, stops):
        end = next((i + 1 for i, token in enumerate(tokens) if token in stops), len(tokens))
        return TokenOutput(
            token_ids=tokens[:end],
            log_probs=scores[:end],
            stop_reason="completed",
            extra_fields={"global_steps": self.global_steps},
        )

    async def load(self, weights):
        own = self.model.state_dict()
        assert weights and set(weights) <= set(own), sorted(set(weights) - set(own))
        with torch.no_grad():
            for name, tensor in weights.items():
                own[name].copy_(tensor)
        self.updates += 1

    async def set_global_steps(self, global_steps):
        self.global_steps = global_steps

    async def nothing(self, *args, **kwargs):
        return {}

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = nothing
    abort_all_requests = resume_generation = start_profile = stop_profile = nothing


class Replica(RolloutReplica):
    """One server for each replica, beside its trainer process."""

    async def launch_servers(self):
        server = ray.remote(Server).options(
            name=server_name(self.replica_rank), num_cpus=0, max_concurrency=self.max_concurrency
        )
        path = self.model_config.get("local_path") or self.model_config.path
        seed = self.config.seed + self.replica_rank
        self.servers = [server.remote(path, self.config.response_length, seed)]
        self._server_handle = self.servers[0]
        self._server_address = f"127.0.0.1:{self.replica_rank}"


class Adapter(BaseRollout):
    """Sends the trainer's weights to the server of its replica."""

    def __init__(self, config, model_config, device_mesh, replica_rank=-1):
        super().__init__(config, model_config, device_mesh)
        self.replica = int(os.environ["RANK"]) if replica_rank == -1 else replica_rank

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, wire_format="named_tensors", **_):
        assert wire_format == "named_tensors"
        found = {name: tensor.detach().cpu().clone() for name, tensor in weights}
        server = ray.get_actor(server_name(self.replica))
        await server.load.remote(found)
        await server.set_global_steps.remote(global_steps)
