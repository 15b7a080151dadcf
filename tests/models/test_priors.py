import numpy as np
import pytest
import torch

from components.data.tasks import Task
from components.models.network import build_network
from components.models.priors import Frequencies, prior_bias, set_priors
from components.models.settings import Architecture, Head

TASKS = (Task("shade", "single", ("dark", "light", "none")), Task("hue", "multi", ("red", "green")))


def test_a_softmax_begins_at_the_shares_and_binary_problems_at_theirs():
    softmax = prior_bias(Frequencies(np.array([30, 60, 10]), 100, binary=False))
    assert np.allclose(softmax.softmax(0), [0.3, 0.6, 0.1])
    binary = prior_bias(Frequencies(np.array([30, 80]), 100, binary=True))
    assert np.allclose(binary.sigmoid(), [0.3, 0.8])


def test_classes_without_samples_or_without_others_have_finite_priors():
    empty = prior_bias(Frequencies(np.array([0, 10]), 10, binary=True))
    assert torch.isfinite(empty).all() and empty[0] < -2 and empty[1] > 2
    assert torch.isfinite(prior_bias(Frequencies(np.array([0, 10]), 10, binary=False))).all()
    assert torch.isfinite(prior_bias(Frequencies(np.array([0, 0]), 0, binary=True))).all()


@pytest.mark.parametrize("kind", ["linear", "embedding"])
def test_an_untrained_network_predicts_the_priors(kind):
    architecture = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]},
                                head=Head(kind=kind))
    network = build_network(architecture, TASKS, (32, 32), 1)
    name = "heads.hue.weight" if kind == "linear" else "heads.hue.last.weight"
    before = network.state_dict()[name].clone()
    set_priors(network, {"shade": Frequencies(np.array([5, 85, 10]), 100, False),
                         "hue": Frequencies(np.array([1, 50]), 100, True)})
    with torch.no_grad():
        logits = network.eval()(torch.randn(8, 3, 32, 32)).logits
    assert np.allclose(logits["shade"].softmax(1).mean(0), [0.05, 0.85, 0.1], atol=0.05)
    assert np.allclose(logits["hue"].sigmoid().mean(0), [0.01, 0.5], atol=0.05)
    assert torch.equal(before, network.state_dict()[name])
