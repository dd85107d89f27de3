import pytest
import torch
import torch.nn.functional as F

from iqasuite.errors import InputError
from iqasuite.training import losses


def test_faithful_soft_label_is_the_published_one():
    labels = losses.soft_labels(torch.tensor([3, 1, 5]))
    torch.testing.assert_close(labels[0], torch.tensor([0.0002, 0.0997, 0.8002, 0.0997, 0.0002]), atol=5e-5, rtol=0)
    torch.testing.assert_close(labels.sum(1), torch.ones(3))
    torch.testing.assert_close(labels[1], labels[2].flip(0))
    assert pytest.approx(losses.FAITHFUL_SIGMA) == 0.7**2


def test_soft_labels_of_means_and_without_softening():
    assert losses.soft_labels(torch.tensor([1, 5]), sigma=0).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    half = losses.soft_labels(torch.tensor([2.5]))[0]
    torch.testing.assert_close(half[1], half[2])


@pytest.mark.parametrize("vote", [0, 6, float("nan")])
def test_votes_outside_of_the_scale_are_refused(vote):
    with pytest.raises(InputError, match="1…5"):
        losses.soft_labels(torch.tensor([3.0, vote]))


def test_losses_against_peers_and_each_other():
    generator = torch.Generator().manual_seed(0)
    logits, votes = torch.randn(9, 5, generator=generator), torch.randint(1, 6, (9,), generator=generator)
    soft, hard = losses.soft_labels(votes), losses.soft_labels(votes, sigma=0)
    torch.testing.assert_close(losses.soft_cross_entropy(logits, soft), F.cross_entropy(logits, soft))
    torch.testing.assert_close(losses.cross_entropy(logits, soft), F.cross_entropy(logits, votes - 1))
    entropy = torch.distributions.Categorical(soft).entropy().mean()
    torch.testing.assert_close(losses.kl_divergence(logits, soft), losses.soft_cross_entropy(logits, soft) - entropy)
    assert losses.emd(100 * hard, hard) == pytest.approx(0, abs=1e-6)
    ends = torch.tensor([[100.0, 0, 0, 0, 0]]), torch.tensor([[0.0, 0, 0, 0, 1]])
    assert losses.emd(*ends) == pytest.approx(4)


def test_losses_by_name():
    assert losses.create("emd") is losses.emd
    with pytest.raises(InputError, match="soft_cross_entropy"):
        losses.create("hinge")
