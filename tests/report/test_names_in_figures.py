"""Figures with names as files may have them: nothing is taken for a formula, a long name leaves room for the plot."""

import warnings
from types import SimpleNamespace

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from iqasuite.inference.predictions import predictions_frame
from iqasuite.report import figures
from iqasuite.report.figures.style import readable

NAMES = ["$x$ 50 % {_^~", r"\alpha $$", "😀 שלום\nsecond line \udcff", "_" + "long " * 60]
N, LONG = len(NAMES), NAMES[-1]
PICTURE = np.full((40, 40, 3), 128, np.uint8)
rng = np.random.default_rng(0)

BANDS = {"value": 0.5, "low": 0.4, "high": 0.6}
PEOPLE = pd.DataFrame(
    {
        "observer": NAMES,
        **BANDS,
        "bias": np.linspace(-1, 1, N),
        "inconsistency": 0.5,
        "n": 9,
        "srocc": 0.5,
        "median": 1.5,
    }
)
MODELS = pd.DataFrame(
    {"model": NAMES, "observer": "", "metric": "srocc", **BANDS, "honest": 0.5, "claimed": 0.6, "gap": 0.1}
)
VOTES = pd.DataFrame(
    [(o, 1, f"i{k}", 1 + (k + j) % 5) for j, o in enumerate(NAMES) for k in range(10)],
    columns=["observer", "session", "image", "vote"],
)
MOS = VOTES.groupby("image")["vote"].mean()
IMAGES = pd.DataFrame({"image": NAMES, "content": NAMES, "distortion": NAMES, "level": 1.0, "mos": 3.0, "mos_std": 1.0})
TESTED = {"gain": 0.1, "low": 0, "high": 0.2, "p_holm": 0.01, "p_least": 1e-4, "n_contents": 20}
PAIRS = [(a, b) for a in NAMES for b in NAMES]
P = pd.DataFrame(np.full((N, 5), 0.2), columns=["p1", "p2", "p3", "p4", "p5"])
RUN = predictions_frame("d", LONG, "c", 0, 0, "test", "", list("abcd"), np.arange(4.0), predicted=np.arange(4.0) ** 2)


def beside(column, **constant):
    """One row a name."""
    return pd.DataFrame({column: NAMES} | constant)


def each_two(a, b, **constant):
    return pd.DataFrame(PAIRS, columns=[a, b]).assign(**constant)


FIGURES = {
    "votes_histogram": lambda: figures.votes_histogram(VOTES),
    "votes_over_mos": lambda: figures.votes_over_mos(VOTES, MOS),
    "agreement_plot": lambda: figures.agreement_plot(PEOPLE),
    "retest_plot": lambda: figures.retest_plot(PEOPLE.assign(metric="qwk")),
    "nuisance_plot": lambda: figures.nuisance_plot(
        pd.DataFrame({"codec $x$": NAMES}, index=list("abcd")), pd.Series(3.0, index=list("abcd"))
    ),
    "subject_model_plot": lambda: figures.subject_model_plot(
        SimpleNamespace(bias=PEOPLE.set_index("observer"), inconsistency=PEOPLE.set_index("observer"))
    ),
    "ambiguity_plot": lambda: figures.ambiguity_plot(PEOPLE.set_index("observer")),
    "pairwise_map": lambda: figures.pairwise_map(
        each_two("observer_a", "observer_b", accuracy=0.5).query("observer_a < observer_b")
    ),
    "drift_plot": lambda: figures.drift_plot(PEOPLE.assign(session=2, repeats=1, drift=0.1)),
    "position_plot": lambda: figures.position_plot(PEOPLE.assign(session=1, effect="residual", slope=0.1)),
    "response_time_plot": lambda: figures.response_time_plot(PEOPLE, PEOPLE.assign(disagreement=1)),
    "thresholds_plot": lambda: figures.thresholds_plot(
        PEOPLE.assign(parameter="1|2", value=np.arange(N)), f"MOS of {LONG}"
    ),
    "ceilings_plot": lambda: figures.ceilings_plot(
        PEOPLE.assign(metric="accuracy", bracket_low=0.1, bracket_high=0.9),
        PEOPLE.assign(metric="accuracy"),
        each_two("observer", "model", value=0.3),
    ),
    "screening_plot": lambda: figures.screening_plot(
        PEOPLE.assign(share=0.1, balance=0.5, flagged=True), PEOPLE.assign(r1=0.5, flagged=True)
    ),
    "repeats_plot": lambda: figures.repeats_plot(
        each_two("observer", "session", share_repeated=0.5).assign(session=[*range(N)] * N),
        PEOPLE.assign(session=1),
    ),
    "two_tests_plot": lambda: figures.two_tests_plot(MOS, MOS, NAMES[0], LONG),
    "observer_scores": lambda: figures.observer_scores(each_two("model", "observer", metric="qwk", **BANDS), "qwk"),
    "method_scores": lambda: figures.method_scores(MODELS, ("srocc",), ""),
    "gains_plot": lambda: figures.gains_plot(beside("against", metric="accuracy", **TESTED), LONG),
    "specificity_plot": lambda: figures.specificity_plot(
        pd.concat(
            [beside("observer", metric="accuracy", against=a, **TESTED) for a in ("mean of others", "best other")]
        ),
        {LONG: beside("observer", metric="accuracy", against="mean of others", **TESTED)},
    ),
    "bias_scatter": lambda: figures.bias_scatter(PEOPLE, PEOPLE),
    "estimates_plot": lambda: figures.estimates_plot(*np.arange(12.0).reshape(2, 3, 2), [LONG, NAMES[0]]),
    "mos_distribution": lambda: figures.mos_distribution(IMAGES, LONG),
    "content_spread": lambda: figures.content_spread(IMAGES),
    "distortion_levels": lambda: figures.distortion_levels(IMAGES),
    "worst_pairs": lambda: figures.worst_pairs(each_two("image_a", "image_b", similarity=0.9), 0.8),
    "contact_sheet": lambda: figures.contact_sheet(IMAGES.assign(mos=np.nan), lambda name: PICTURE),
    "confusion_map": lambda: figures.confusion_map(np.eye(5, dtype=int), LONG, NAMES[1]),
    "confusion_grid": lambda: figures.confusion_grid(dict.fromkeys(PAIRS, np.eye(5, dtype=int))),
    "cross_comparison_map": lambda: figures.cross_comparison_map(
        each_two("observer", "aio", metric="accuracy", value=0.5)
    ),
    "image_grid": lambda: figures.image_grid([[PICTURE] * N] * N, NAMES, NAMES),
    "attention_across_aios": lambda: figures.attention_across_aios(None, rng.random((N, N, 4, 4)), NAMES, NAMES),
    "attention_comparison": lambda: figures.attention_comparison([PICTURE] * N, rng.random((N, N, 4, 4)), NAMES, NAMES),
    "maps_beside_images": lambda: figures.maps_beside_images(
        [PICTURE] * N, {name: rng.random((N, 4, 4)) for name in NAMES}, NAMES, quality=(NAMES[0], LONG)
    ),
    "localisation_plot": lambda: figures.localisation_plot(each_two("model", "method", **BANDS)),
    "cascade_plot": lambda: figures.cascade_plot(each_two("model", "method", shuffled=1.0, value=0.5)),
    "vote_distributions": lambda: figures.vote_distributions(
        pd.concat([P.assign(observer=NAMES, image=image, target=3) for image in NAMES]), NAMES
    ),
    "significance_matrix": lambda: figures.significance_matrix(
        pd.DataFrame([(LONG, name) for name in NAMES if name != LONG], columns=["model", "other"]).assign(
            metric="srocc", difference=0.1, p_holm=0.1, p_least=1e-6, n=8, n_contents=8
        )
    ),
    "median_plot": lambda: figures.median_plot(MODELS, ("srocc",)),
    "scatter_with_logistic": lambda: figures.scatter_with_logistic(RUN, LONG),
    "split_spread": lambda: figures.split_spread(MODELS.assign(fold=0, seed=0)),
    "selection_gap_plot": lambda: figures.selection_gap_plot(MODELS),
    "per_distortion_heatmap": lambda: figures.per_distortion_heatmap(each_two("model", "distortion", srocc=0.5, n=9)),
    "latency_accuracy_plot": lambda: figures.latency_accuracy_plot(
        MODELS.assign(median_ms=np.arange(1.0, N + 1), low_ms=np.nan, high_ms=np.nan, engine=NAMES)
    ),
    "error_maps": lambda: figures.error_maps([PICTURE] * N, [rng.random((40, 40))] * N, NAMES),
    "loss_grid": lambda: figures.loss_grid(each_two("variant", "loss", **BANDS)),
    "batch_size_plot": lambda: figures.batch_size_plot(beside("loss", batch_size=8, **BANDS)),
    "sources_plot": lambda: figures.sources_plot(
        pd.concat([each_two("model", "source"), beside("model", source="all")]).assign(n=4, srocc=0.5)
    ),
    "scan_orders": lambda: figures.scan_orders({name: np.arange(4) for name in NAMES}, 2, 2),
    "staircase_plot": lambda: figures.staircase_plot(
        np.arange(4.0), np.arange(4.0), {name: np.arange(4.0) for name in NAMES}
    ),
    "surrogate_plot": lambda: figures.surrogate_plot({name: (np.zeros(3), np.zeros(3)) for name in NAMES}),
    "gradient_cosines": lambda: figures.gradient_cosines(beside("loss", step=1.0, cosine=0.5, low=0.4, high=0.6)),
    "batch_noise_plot": lambda: figures.batch_noise_plot(each_two("loss", "x", batch=8, deviation=0.1, cosine=0.5)),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_any_name_is_drawn_as_it_is_and_leaves_room_for_the_plot(figure):
    fig = FIGURES[figure]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font has no such letter: a box stands for it
        warnings.filterwarnings("error", "constrained_layout not applied")
        fig.draw_without_rendering()
    shown = [text for text in fig.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    own = [text.get_text() for text in shown if "mathdefault" not in text.get_text()]  # ticks of log axes are formulas
    assert all("$" not in text.replace(r"\$", "") for text in own)
    width, height = fig.bbox.size
    assert max(t.get_window_extent().width / width for t in shown) < 0.9
    assert sum(ax.bbox.width * ax.bbox.height for ax in fig.axes) > 0.12 * width * height


def test_a_shortened_name_has_its_two_ends():
    assert readable("short") == "short" and readable("_x") == " _x" and readable("a$b") == r"a\$b"
    assert readable("participant 1234", 10) == "partic…234" and len(readable("x" * 300, 20)) == 20
    assert readable("a\nb") == r"a\nb" and readable(3) == "3"
