"""inna.torch.curvature finds the largest eigenvalue, and the stable lr that follows is the limit."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from inna.hyperparameters import max_stable_lr
from inna.torch import INNA, curvature


def test_the_largest_eigenvalue_of_a_quadratic():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64))[0]
    eigenvalues = torch.linspace(-300, 100, 40, dtype=torch.float64)  # the largest in size is negative
    matrix = basis * eigenvalues @ basis.T
    theta = torch.randn(40, dtype=torch.float64, requires_grad=True)
    assert curvature(lambda: theta @ matrix @ theta / 2, [theta]) == pytest.approx(100, rel=1e-3)
    assert theta.grad is None


def test_the_largest_eigenvalue_of_a_network_with_an_unused_and_a_frozen_parameter():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(16, 3, dtype=torch.float64)
    frozen, unused = model[2].bias.requires_grad_(False), nn.Parameter(torch.ones(2, dtype=torch.float64))
    used = [model[0].weight, model[0].bias, model[2].weight]

    def loss(*values):
        names = ["0.weight", "0.bias", "2.weight"]
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), x).square().mean()

    blocks = torch.autograd.functional.hessian(loss, tuple(used))
    sizes = [p.numel() for p in used]
    hessian = torch.cat(
        [
            torch.cat([b.reshape(n, m) for b, m in zip(row, sizes, strict=True)], 1)
            for row, n in zip(blocks, sizes, strict=True)
        ]
    )
    found = curvature(lambda: model(x).square().mean(), [*used, frozen, unused])
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (0.5, 0.01), (1.0, 1.0)])
def test_just_below_the_limit_inna_converges_and_just_above_it_diverges(alpha, beta):
    scales = torch.tensor([1.0, 7.0, 40.0], dtype=torch.float64)
    start = torch.ones(3, dtype=torch.float64)

    def loss(theta):
        return (scales * theta**2).sum() / 2

    probe = start.clone().requires_grad_()
    limit = max_stable_lr(alpha, beta, curvature(lambda: loss(probe), [probe]))
    ends = []
    for factor in (0.8, 1.2):
        theta = start.clone().requires_grad_()
        optimizer = INNA([theta], lr=factor * limit, alpha=alpha, beta=beta)
        for _ in range(4000):
            optimizer.zero_grad()
            loss(theta).backward()
            optimizer.step()
        ends.append(float(theta.detach().norm()))
    assert ends[0] < 0.1
    assert not ends[1] < 100


def test_a_linear_loss_has_no_curvature():
    theta = torch.ones(3, requires_grad=True)
    assert curvature(lambda: theta.sum(), [theta]) == 0


@pytest.mark.parametrize(
    ("loss", "frozen", "words"),
    [
        (lambda t: t**2, False, "one element"),
        (lambda t: (t / 0).sum(), False, "finite"),
        (lambda t: t.sum(), True, "no parameter requires a gradient"),
        (lambda t: t.detach().sum(), False, "has no gradient: is it detached"),
    ],
)
def test_bad_input_is_named(loss, frozen, words):
    theta = torch.ones(3, requires_grad=not frozen)
    with pytest.raises(ValueError, match=words):
        curvature(lambda: loss(theta), [theta])


def test_a_loss_that_is_no_tensor_is_named():
    with pytest.raises(TypeError, match="must return a tensor, got float"):
        curvature(lambda: 1.0, [torch.ones(3, requires_grad=True)])


def test_attention_is_differentiated_twice():
    """The quick kernels of attention can be differentiated once only."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    params = [p for name, p in layer.named_parameters() if name.startswith("self_attn")]

    def loss():
        return layer(x).square().mean()

    ours = curvature(loss, params, tolerance=1e-8)
    with sdpa_kernel(SDPBackend.MATH):
        grads = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(), params, create_graph=True)])
        rows = [torch.autograd.grad(g, params, retain_graph=True) for g in grads]
    hessian = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    assert ours == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-4)
