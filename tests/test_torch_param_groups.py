"""Norms, biases and embeddings do not decay."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from inna.torch import INNAprop, param_groups


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.linear = nn.Linear(4, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.batch_norm = nn.BatchNorm1d(4)
        self.matrix_norm = nn.LayerNorm((4, 4))
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)
        self.head = nn.Linear(4, 10, bias=False)


def names(model, group):
    return {name for name, p in model.named_parameters() if any(p is q for q in group["params"])}


def test_matrices_and_kernels_decay_and_nothing_else():
    model = Model()
    decayed, others = param_groups(model, 0.1)
    assert names(model, decayed) == {"linear.weight", "conv.weight", "head.weight"}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names(model, decayed) | names(model, others) == trained


def test_a_weight_shared_with_an_embedding_is_an_embedding_unless_embeddings_decay():
    model = Model()
    model.head.weight = model.embedding.weight
    decayed, others = param_groups(model, 0.1)
    assert model.head.weight not in set(decayed["params"])
    assert sum(p is model.head.weight for p in others["params"]) == 1
    decayed, others = param_groups(model, 0.1, embeddings=True)
    assert sum(p is model.head.weight for p in decayed["params"]) == 1


def test_only_the_first_group_shrinks():
    model = Model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = INNAprop(param_groups(model, 0.5), lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    shrunk = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {"linear.weight", "conv.weight", "head.weight"}


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_bad_decay_is_named(value):
    with pytest.raises(ValueError, match="weight_decay must be finite and non-negative, got"):
        param_groups(Model(), value)


def test_torch_hub_finds_the_optimizers(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    params = [torch.ones(2, requires_grad=True)]
    found = torch.hub.load(str(Path(__file__).parents[1]), "INNA", params, source="local", lr=0.2)
    assert type(found).__name__ == "INNA"
    assert found.param_groups[0]["lr"] == 0.2
