"""Maps of any network by one interface: shapes, a map known in closed form, and what cannot have one."""

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.explain import maps
from iqasuite.models import create

NETWORKS = {
    "vit_iqa": {"image_size": 64, "trunk": {"size": "tiny", "depth": 2}},
    "mobile_nr": {"width": 0.25},
    "jpeg_resnet": {"depth": 18},
}


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_method_of_a_network_gives_a_finite_map_an_image_and_leaves_it_as_it_was(architecture):
    torch.manual_seed(0)
    network = create(architecture, **NETWORKS[architecture]).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    methods = maps.methods_of(network)
    assert "occlusion" in methods and len(methods) >= 4
    for method in methods:
        found = maps.maps(network, images, method)
        assert found.ndim == 3 and len(found) == 2 and np.isfinite(found).all(), method
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training


def test_class_activation_is_its_definition():
    features = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 0.0]]]])
    gradient = torch.stack([torch.full((2, 2), 1.0), torch.full((2, 2), -0.5)])[None]
    expected = (1.0 * features[0, 0] - 0.5 * features[0, 1]).clamp_min(0)
    assert torch.allclose(maps.grad_cam(features, gradient).squeeze(), expected)


def test_what_has_no_such_map_is_said():
    network = create("mobile_nr", width=0.25).eval()
    images = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="attention"):
        maps.maps(network, images, "attention")
    with pytest.raises(InputError):
        maps.maps(network, images[:, :8, :8], "occlusion")
