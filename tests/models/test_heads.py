import pytest
import torch
from scipy.stats import norm

from iqasuite.models import heads


def test_distribution_and_expected_vote():
    p = torch.tensor([[0.4, 0.0, 0.1, 0.1, 0.4], [0.0, 0.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2, 0.2]])
    logits = p.clamp_min(1e-12).log()
    torch.testing.assert_close(heads.distribution(logits), p, atol=1e-6, rtol=0)
    torch.testing.assert_close(heads.expected_vote(logits), torch.tensor([3.1, 4.5, 3.0]))


def test_ordinal_head_gives_the_probit_probabilities():
    torch.manual_seed(0)
    head = heads.OrdinalHead(6)
    x = torch.randn(20, 6)
    score, cuts = head.score(x).detach().numpy(), head.thresholds.detach().numpy()
    below = norm.cdf(cuts - score)
    expected = torch.tensor(below, dtype=torch.float32)
    p = head(x).exp()
    torch.testing.assert_close(p.cumsum(1)[:, :4], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(heads.distribution(head(x)), p, atol=1e-6, rtol=0)
    assert (head.thresholds.diff() > 0).all()


def test_ordinal_log_probabilities_stay_finite_and_sum_to_one_far_out():
    score = torch.tensor([[-60.0], [-9.0], [0.0], [9.0], [60.0]], requires_grad=True)
    logs = heads._interval_log_probabilities(torch.tensor([-1.5, -0.5, 0.5, 1.5]) - score)
    assert torch.isfinite(logs).all()
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(5))
    assert logs.argmax(1).tolist() == [0, 0, 2, 4, 4]
    logs.diagonal().sum().backward()
    assert torch.isfinite(score.grad).all()
    torch.testing.assert_close(logs[1], logs[3].flip(0))


def test_ordinal_head_recovers_known_thresholds():
    generator = torch.Generator().manual_seed(0)
    score = 2 * torch.randn(4000, 1, generator=generator)
    true = torch.tensor([-2.0, -1.0, 0.2, 1.5])
    votes = (score + torch.randn(4000, 1, generator=generator) > true).sum(1)
    torch.manual_seed(0)
    head = heads.OrdinalHead(1)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        value = torch.nn.functional.nll_loss(head(score), votes)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(head.thresholds - head.score.bias, true, atol=0.12, rtol=0)
    assert head.score.weight.item() == pytest.approx(1, abs=0.06)


def test_thresholds_reach_a_strict_person_within_a_few_small_steps():
    """As an AIO starts: the score is known, the person is more than one vote below everybody."""
    generator = torch.Generator().manual_seed(0)
    score = 2 * torch.randn(400, 1, generator=generator)
    true = torch.tensor([0.5, 1.5, 2.5, 3.5])  # everybody's: −1.5, −.5, .5, 1.5
    votes = (score + torch.randn(400, 1, generator=generator) > true).sum(1)
    head = heads.OrdinalHead(1)
    with torch.no_grad():
        head.score.weight.fill_(1.0)
        head.score.bias.zero_()
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-4)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.nll_loss(head(score), votes).backward()
        optimiser.step()
    assert (head.thresholds - true).abs().max() < 0.4
    assert abs(head.score.weight.item() - 1) < 0.05
