import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import plcc
from iqasuite.training import regressors
from iqasuite.training.regressors import GaussianSVR, fit_pooled


@pytest.fixture(scope="module")
def data():
    """A linear and a bent score of 6 features of very different scales; 120 images."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(120, 6))
    x = z * 10.0 ** np.arange(-2, 4) + 5
    linear = 50 + 10 * z @ rng.normal(size=6)
    return x, {"ridge": linear, "svr": 50 + 10 * np.abs(z[:, 0]) + 5 * z[:, 1]}


def parts(x, y):
    return (x[:60], y[:60], x[60:80], y[60:80]), (x[80:], y[80:])


@pytest.mark.parametrize("kind", ["svr", "ridge"])
def test_recovers_a_known_score_on_its_own_scale(kind, data):
    x, y = data[0], data[1][kind]
    given, (x_test, y_test) = parts(x, y)
    predicted = fit_pooled(kind, *given).predict(x_test)
    assert predicted.shape == (40,) and plcc(predicted, y_test) > 0.85
    assert np.sqrt(np.mean((predicted - y_test) ** 2)) < 0.6 * y_test.std()


def test_ridge_is_the_closed_form_and_alpha_the_best_on_val(data):
    rng = np.random.default_rng(3)
    x, y = data[0], data[1]["ridge"] + rng.normal(0, 30, 120)
    (x_train, y_train, x_val, y_val), _ = parts(x, y)

    def predicted(alpha, x_new):
        mean, std = x_train.mean(0), x_train.std(0)
        z = (x_train - mean) / std
        weights = np.linalg.solve(z.T @ z + alpha * np.eye(6), z.T @ (y_train - y_train.mean()))
        return (x_new - mean) / std @ weights + y_train.mean()

    errors = [np.mean((predicted(alpha, x_val) - y_val) ** 2) for alpha in regressors.ALPHA]
    best = regressors.ALPHA[int(np.argmin(errors))]
    fitted = fit_pooled("ridge", x_train, y_train, x_val, y_val)
    assert fitted.get_params()["regressor__ridge__alpha"] == best
    np.testing.assert_allclose(fitted.predict(x_val), predicted(best, x_val))


def test_svr_setting_is_the_best_on_val_and_val_is_not_learnt_from(data):
    x, y = data[0], data[1]["svr"]
    (x_train, y_train, x_val, y_val), (x_test, _) = parts(x, y)
    mean, std = y_train.mean(), y_train.std()
    peers = {}
    for c in regressors.C:
        for gamma in regressors.GAMMA:
            peer = make_pipeline(StandardScaler(), SVR(C=c, gamma=gamma / 6)).fit(x_train, (y_train - mean) / std)
            peers[np.mean((peer.predict(x_val) * std + mean - y_val) ** 2)] = peer
    expected = peers[min(peers)].predict(x_test) * std + mean
    np.testing.assert_allclose(fit_pooled("svr", x_train, y_train, x_val, y_val).predict(x_test), expected)


def test_bad_input_is_named(data):
    x, y = data[0], data[1]["svr"]
    for given, word in (
        (("forest", x, y, x, y), "svr, ridge"),
        (("svr", x, y[:3], x, y), "train"),
        (("svr", x, y * np.nan, x, y), "finite"),
        (("ridge", x, y, x[:, :2], y), "2 features in val, expected 6"),
    ):
        with pytest.raises(InputError, match=word):
            fit_pooled(*given)


def test_gaussian_svr_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 300)), rng.normal(size=80)
    ours = GaussianSVR(C=3.0, gamma=0.3 / 300).fit(x[:60], y[:60])
    theirs = SVR(C=3.0, gamma=0.3 / 300).fit(x[:60], y[:60])
    np.testing.assert_allclose(ours.predict(x[60:]), theirs.predict(x[60:]), atol=1e-3)  # libsvm stops at 1e-3
