"""Any nesting and any wrapper around a state_dict gives the module its own answers back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lading.build.weights.load import Loaded, load_into
from lading.errors import CheckpointError

NAMES = st.sampled_from(
    ["state_dict", "model", "module", "net", "ema", "_orig_mod", "model_state_dict", "0", "a.b", "weight", "conv"]
)
JUNK = {
    "epoch": 3,
    "optimizer": {"state": {0: {"exp_avg": torch.ones(4), "step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]},
    "decay": 0.999,
    "global_step": torch.tensor(7),
}


class Block(nn.Module):
    """A convolution with its norm, and a way around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.norm(self.conv(x)))


class Network(nn.Module):
    """(batch, 3, 6, 6) to (batch, 2)."""

    def __init__(self, width: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


class Wrapped(nn.Module):
    """The network inside a model file, which scales pixels first."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x / 255)
        return logits


class Tied(nn.Module):
    """An embedding that is also the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embed(x.long().clamp(0, 4)[:, 0, 0, 0]))
        return logits


def trained(module: nn.Module) -> nn.Module:
    """The module with other weights and statistics than a fresh one."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.copy_(torch.rand_like(tensor) + 0.1 if tensor.is_floating_point() else tensor + 5)
    return module.eval()


def answer(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = module.eval()(torch.linspace(0, 3, 216).reshape(2, 3, 6, 6))
    return result


def load(file: Path, fresh: nn.Module, content: object, part: str | None = None) -> Loaded:
    torch.save(content, file)
    return load_into(fresh, file, "network", part=part)


@given(
    make=st.sampled_from([Network, Tied, lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 3), nn.Linear(3, 3))]),
    wrappers=st.lists(NAMES, max_size=3),
    containers=st.lists(NAMES, max_size=3),
    inner=st.sampled_from(["", "_orig_mod.", "_fsdp_wrapped_module.", "parallel."]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_nesting_of_wrappers_gives_the_same_answers(
    make: Callable[[], nn.Module], wrappers: list[str], containers: list[str], inner: str, tmp_path: Path
) -> None:
    module = trained(make())
    prefix = "".join(f"{name}." for name in wrappers)
    content: object = {}
    state = {}
    for name, tensor in module.state_dict().items():
        front, dot, end = name.partition(".")
        state[f"{prefix}{front}{dot}{inner if dot else ''}{end}"] = tensor
    content = state
    for name in containers:
        content = {name: content, **JUNK}
    file = tmp_path / "any.pth"
    torch.save(content, file)
    fresh = make()
    load_into(fresh, file, "network")
    assert torch.equal(answer(fresh), answer(module))


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "swa": AveragedModel,
    "ema": lambda module: AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9)),  # type: ignore[no-untyped-call]
    "compiled": torch.compile,  # type: ignore[dict-item]
    "parallel": nn.DataParallel,
    "compiled ema": lambda module: AveragedModel(torch.compile(module)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("make", [Network, Wrapped])
def test_what_torchs_own_wrappers_save_goes_in(name: str, make: Callable[[], nn.Module], tmp_path: Path) -> None:
    module = trained(make())
    fresh = make()
    done = load(tmp_path / "w.pt", fresh, {"model": WRAPPERS[name](module).state_dict()})
    assert torch.equal(answer(fresh), answer(module))
    assert done.renamed
    assert done.counters == 2


def test_a_submodule_that_was_compiled_alone_goes_in(tmp_path: Path) -> None:
    module, fresh = trained(Network()), Network()
    expected = answer(module)
    module.blocks = torch.compile(module.blocks)  # type: ignore[assignment, arg-type]
    load(tmp_path / "w.pt", fresh, module.state_dict())
    assert torch.equal(answer(fresh), expected)


def test_a_model_that_is_compiled_by_its_file_takes_plain_weights(tmp_path: Path) -> None:
    module, fresh = trained(Network()), Network()
    fresh.blocks = torch.compile(fresh.blocks)  # type: ignore[assignment]
    load(tmp_path / "w.pt", fresh, module.state_dict())
    assert torch.equal(fresh.state_dict()["stem.weight"], module.state_dict()["stem.weight"])
    assert torch.equal(fresh.state_dict()["blocks._orig_mod.1.norm.running_var"], module.blocks[1].norm.running_var)  # type: ignore[index, union-attr]


def test_bare_weights_go_into_a_module_that_wraps_the_network(tmp_path: Path) -> None:
    network, fresh = trained(Network()), Wrapped()
    done = load(tmp_path / "w.pth", fresh, network.state_dict())
    assert torch.equal(answer(fresh.network), answer(network))
    assert done.renamed == {"": "network."}


def test_the_fitting_one_of_several_sets_is_found(tmp_path: Path) -> None:
    student, teacher, fresh = trained(Network(4)), trained(Network(8)), Network(4)
    done = load(tmp_path / "w.pth", fresh, {"teacher": teacher.state_dict(), "student": student.state_dict()})
    assert torch.equal(answer(fresh), answer(student))
    assert done.renamed == {"student.": ""}
    assert done.dropped == {"teacher": len(teacher.state_dict())}


def test_of_two_different_sets_one_must_be_named(tmp_path: Path) -> None:
    raw, ema = trained(Network()), trained(Network())
    content = {"state_dict": raw.state_dict(), "ema": {"shadow": ema.state_dict(), "decay": 0.9}}
    with pytest.raises(CheckpointError, match=r"2 different sets .* 'state_dict', 'ema\.shadow'.*--part state_dict"):
        load(tmp_path / "w.pth", Network(), content)
    for part, module in (("state_dict", raw), ("ema", ema), ("ema.shadow", ema)):
        fresh = Network()
        load(tmp_path / "w.pth", fresh, content, part)
        assert torch.equal(answer(fresh), answer(module))
    with pytest.raises(CheckpointError, match=r"no tensors under 'swa'; it has ema, state_dict"):
        load(tmp_path / "w.pth", Network(), content, "swa")


def test_equal_copies_need_no_choice(tmp_path: Path) -> None:
    module, fresh = trained(Network()), Network()
    load(tmp_path / "w.pth", fresh, {"model": module.state_dict(), "best": copy.deepcopy(module.state_dict())})
    assert torch.equal(answer(fresh), answer(module))


def test_what_is_not_used_is_told_with_the_name_that_holds_it(tmp_path: Path) -> None:
    module = trained(Network())
    extra = {"head2.weight": torch.ones(2), "head2.bias": torch.ones(1), "scale": torch.ones(1)}
    done = load(tmp_path / "w.pth", Network(), {"state_dict": {**module.state_dict(), **extra}, **JUNK})
    assert done.dropped == {
        **{"state_dict.head2": 2, "state_dict.scale": 1, "global_step": 1},
        **{"optimizer": 3, "epoch": 1, "decay": 1},
    }
    told = "\n".join(done.sentences())
    assert "state_dict. to (none)" in told
    assert "optimizer (3 entries)" in told


def test_a_partial_load_is_refused_with_every_missing_name(tmp_path: Path) -> None:
    state = dict(trained(Network()).state_dict())
    for name in ("head.weight", "blocks.0.norm.running_mean"):
        del state[name]
    fresh = Network()
    before = answer(fresh)
    with pytest.raises(CheckpointError, match=r"it lacks 'blocks\.0\.norm\.running_mean', 'head\.weight'\. Was it"):
        load(tmp_path / "w.pth", fresh, {"model": state})
    assert torch.equal(answer(fresh), before)


class Plain(nn.Module):
    """A linear layer without bias, inside a network or alone."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=bias)


@pytest.mark.parametrize(
    ("larger", "smaller", "more"),
    [
        (lambda: Network(depth=3), Network, r"'w\.blocks\.2' inside the network"),
        (lambda: Plain(bias=True), lambda: Plain(bias=False), r"'w\.layer\.bias' inside"),
        (lambda: nn.Linear(3, 2), lambda: nn.Linear(3, 2, bias=False), r"'w\.bias' inside"),
        (lambda: nn.Sequential(*[nn.Linear(2, 2)] * 3), lambda: nn.Sequential(nn.Linear(2, 2)), r"'w\.1', 'w\.2' ins"),
    ],
)
def test_a_larger_network_does_not_pass_for_a_smaller_one(
    larger: Callable[[], nn.Module], smaller: Callable[[], nn.Module], more: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"{more}.*--drop w\."):
        load(tmp_path / "w.pth", smaller(), {"w": larger().state_dict()})


def test_what_is_named_may_be_dropped(tmp_path: Path) -> None:
    module, fresh = trained(Network(depth=3)), Network()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    load_into(fresh, tmp_path / "w.pth", "network", drop=["blocks.2"])
    assert torch.equal(fresh.state_dict()["blocks.1.conv.weight"], module.state_dict()["blocks.1.conv.weight"])


def test_every_other_shape_is_told_with_both(tmp_path: Path) -> None:
    state = {**Network().state_dict(), "head.weight": torch.ones(9, 4), "head.bias": torch.ones(9)}
    with pytest.raises(CheckpointError) as refused:
        load(tmp_path / "w.pth", Network(), state)
    assert "'head.weight' is [9, 4] in the file and [2, 4] in the model" in str(refused.value)
    assert "'head.bias' is [9] in the file and [2] in the model" in str(refused.value)


def test_half_weights_are_converted_and_told(tmp_path: Path) -> None:
    module = trained(Network()).half()
    fresh = Network()
    done = load(tmp_path / "w.pth", fresh, module.state_dict())
    assert torch.equal(answer(fresh), answer(module.float()))
    assert done.cast == {"float16 to float32": 14}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.ones(2, dtype=torch.int8), r"is int8 in the file and float32 in the model"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "is quantized"),
        (lambda: torch.ones(2).to_sparse(), "is sparse"),
        (lambda: torch.ones(2, device="meta"), "without values"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_a_tensor_of_another_kind_is_refused(make: Callable[[], torch.Tensor], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"'head.bias' .*{reason}|'head.bias' is {reason}"):
        load(tmp_path / "w.pth", Network(), {**Network().state_dict(), "head.bias": make()})


def test_tied_weights_need_one_name_and_may_not_differ(tmp_path: Path) -> None:
    module, fresh = trained(Tied()), Tied()
    done = load(tmp_path / "w.pth", fresh, {"embed.weight": module.embed.weight})  # type: ignore[union-attr]
    assert torch.equal(answer(fresh), answer(module))
    assert done.tied == {"head.weight": "embed.weight"}
    with pytest.raises(CheckpointError, match=r"are one tensor in the model and differ in the file"):
        load(tmp_path / "w.pth", Tied(), {"embed.weight": torch.ones(5, 4), "head.weight": torch.zeros(5, 4)})


def test_safetensors_of_any_prefix_go_in(tmp_path: Path) -> None:
    module, fresh = trained(Network()), Network()
    save_file({f"model.{name}": tensor for name, tensor in module.state_dict().items()}, tmp_path / "m.safetensors")
    load_into(fresh, tmp_path / "m.safetensors", "network")
    assert torch.equal(answer(fresh), answer(module))


def test_a_parameter_that_is_not_a_number_is_refused_and_a_buffer_is_not(tmp_path: Path) -> None:
    module = trained(Network())
    state = dict(module.state_dict())
    buffer, parameter = "blocks.1.norm.running_mean", "blocks.0.conv.weight"
    load(tmp_path / "w.pth", Network(), {**state, buffer: torch.full((4,), float("nan"))})
    broken = state[parameter].clone()
    broken[0] = float("nan")
    with pytest.raises(CheckpointError, match=rf"holds NaN in '{parameter}' \(36 of 144 numbers\), so its training"):
        load(tmp_path / "w.pth", Network(), {**state, parameter: broken})
