"""FSDP2 as a strategy of Lightning, whose checkpoints are those of one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.optim import Optimizer

from alignlab.models.distributed import is_first
from alignlab.models.sharding import local_part, part_of, whole


class ShardedStrategy(ModelParallelStrategy):
    """Weights, gradients and the optimiser's moments are shared out among all ranks.

    The module shards its model in `configure_model`. A checkpoint holds whole tensors, the trained ones alone, in the
    form in which any other strategy writes and reads them: so it goes on with any number of ranks, also with one.
    Lightning's own cannot leave out frozen weights, and numbers the optimiser's state by all of the model's.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        # By default all ranks of a machine would be for tensor parallelism, of which the models know nothing.
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The trained weights, whole; on rank zero alone."""
        assert self.lightning_module is not None
        trained = [(name, weight) for name, weight in self.lightning_module.named_parameters() if weight.requires_grad]
        gathered = {name: whole(weight.detach()) for name, weight in trained}
        return gathered if is_first() else {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As `Optimizer.state_dict` of one process; on rank zero alone."""
        stored = getattr(optimizer, "_optimizer", optimizer).state_dict()
        # In the order of the weights, the same on all ranks.
        state = {
            number: {name: whole(value) for name, value in of_weight.items()}
            for number, of_weight in stored["state"].items()
        }
        return {**stored, "state": state} if is_first() else {}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Every rank reads the file, and of each tensor only its own rows."""
        return torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=True)  # type: ignore[no-any-return]

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take over the trained weights. Raises KeyError where one is missing."""
        assert self.lightning_module is not None
        with torch.no_grad():
            for name, weight in self.lightning_module.named_parameters():
                if weight.requires_grad:
                    local_part(weight).copy_(local_part(part_of(checkpoint["state_dict"][name], weight)))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, stored in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            numbers = [number for group in stored["param_groups"] for number in group["params"]]
            state = {
                number: {name: part_of(value, weight) for name, value in stored["state"][number].items()}
                for number, weight in zip(numbers, weights, strict=True)
                if number in stored["state"]
            }
            optimizer.load_state_dict({**stored, "state": state})
