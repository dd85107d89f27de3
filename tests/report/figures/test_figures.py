"""Every figure is drawn from small data and says what it should; how it looks is for eyes."""

from dataclasses import replace

import matplotlib
import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from iqasuite.report import figures
from iqasuite.report.figures.score import _looks
from iqasuite.report.figures.style import CEILING_COLOUR, GRAY

PEOPLE = [f"Obs{n}" for n in range(1, 12)]


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def votes(rng, people=3, sessions=2, n=30):
    frames = []
    for observer in PEOPLE[:people]:
        for session in range(1, sessions + 1):
            frame = pd.DataFrame({"observer": observer, "session": session, "position": range(1, n + 1)})
            frames.append(frame.assign(image=[f"i{k}" for k in range(n)], vote=rng.integers(1, 6, n)))
    return pd.concat(frames, ignore_index=True)


def scores(people=3):
    rows = []
    models = ["aio", "aio too", "baseline: majority", "baseline: thresholds on height", "ceiling: others"]
    for k, model in enumerate(models):
        for observer in [*PEOPLE[:people], "mean"]:
            for metric in ("accuracy", "qwk", "mae"):
                value = np.nan if (k, metric) == (2, "qwk") else 0.3 + 0.1 * k
                rows.append((model, observer, metric, value, value - 0.05, value + 0.05))
    return pd.DataFrame(rows, columns=["model", "observer", "metric", "value", "low", "high"])


def texts(fig):
    return " ".join(t.get_text() for t in fig.findobj(matplotlib.text.Text))


def drawn(fig):
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    return fig


def test_nothing_global_is_left_behind():
    before = dict(matplotlib.rcParams)
    drawn(figures.confusion_map(np.eye(5, dtype=int)))
    assert dict(matplotlib.rcParams) == before


def test_notebooks_show_the_picture_and_not_its_name():
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(figures.confusion_map(np.eye(5, dtype=int)))
    assert shown["image/png"][:4] == b"\x89PNG"


@pytest.mark.parametrize("people", [1, 3, 9])
def test_rating_figures(rng, people):
    table = votes(rng, people)
    mos = table.groupby("image")["vote"].mean()
    fig = drawn(figures.votes_histogram(table))
    assert "session 2" in texts(fig) and f"{PEOPLE[people - 1]} (mean" in texts(fig)
    assert sum(len(ax.patches) for ax in fig.axes) == people * 2 * 5
    drawn(figures.votes_over_mos(table, mos))
    own = pd.DataFrame({"observer": PEOPLE[:people], "bias": 0.1, "inconsistency": 0.5})
    drawn(figures.agreement_plot(own.assign(n=40, srocc=0.9, low=0.8, high=0.95)))
    unknown = own.assign(n=3, srocc=np.nan, low=np.nan, high=np.nan).assign(observer="few")
    fig = drawn(figures.agreement_plot(pd.concat([own.assign(n=40, srocc=0.9, low=0.8, high=0.95), unknown])))
    assert "few (n = 3)" in texts(fig) and "mean 0.900" in texts(fig) and "(n = 40)" not in texts(fig)
    both = [own.assign(metric=m, value=0.6, low=0.5, high=0.7) for m in ("accuracy", "qwk")]
    drawn(figures.retest_plot(pd.concat(both)))


def test_nuisance_counts_images_that_give_nothing_away(rng):
    nuisances = pd.DataFrame({"jpeg_quality": [10.0, 50.0, np.nan, 90.0]}, index=list("abcd"))
    fig = drawn(figures.nuisance_plot(nuisances, pd.Series([1.0, 2.0, 3.0, 4.0], index=list("abcd"))))
    assert "3 images, SROCC 1.000; 1 images give nothing away" in texts(fig) and "JPEG quality" in texts(fig)


def test_baselines_are_gray_and_the_ceiling_is_marked():
    looks = _looks(["aio", "baseline: majority", "ceiling: others"])
    assert looks["baseline: majority"]["colour"] == GRAY and looks["ceiling: others"]["colour"] == CEILING_COLOUR
    assert looks["aio"]["colour"] not in (GRAY, CEILING_COLOUR)


@pytest.mark.parametrize("metric", ["accuracy", "qwk", "mae"])
def test_score_figures(metric):
    fig = drawn(figures.observer_scores(scores(), metric))
    assert "ceiling: others" in texts(fig)
    fig = drawn(figures.method_scores(scores(), (metric, "accuracy")))
    order = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert order[0] == ("aio" if metric == "mae" else "ceiling: others")


def test_specificity_and_bias():
    rows = [
        {
            "observer": o,
            "metric": m,
            "against": a,
            "gain": 0.1,
            "low": 0,
            "high": 0.2,
            "p_holm": p,
            "p_least": 1e-4,
            "n_contents": 20,
        }
        for o, p in zip(PEOPLE[:3], (0.01, 0.2, 0.04), strict=True)
        for m in ("accuracy", "mae")
        for a in ("mean of others", "best other")
    ]
    fig = drawn(figures.specificity_plot(pd.DataFrame(rows)))
    assert "not significant" in texts(fig)
    beside = {"baseline: majority": pd.DataFrame(rows)}
    assert "the same for majority" in texts(drawn(figures.specificity_plot(pd.DataFrame(rows), rules=beside)))
    for people in (2, 3, 11):
        bias = pd.DataFrame({"observer": PEOPLE[:people], "bias": np.linspace(-1, 1, people)})
        fig = drawn(figures.bias_scatter(bias, bias.assign(bias=bias["bias"] / 2)))
    assert "r = 1.00 over 11 observers" in texts(fig)


def test_history_with_and_without_validation():
    history = pd.DataFrame({"epoch": range(5), "train_loss": np.arange(5.0), "lr": 1e-4})
    assert len(drawn(figures.history_plot(history)).axes) == 2
    fig = figures.history_plot(history.assign(val_loss=[3.0, 2, 1, 2, 3], val_qwk=0.5))
    assert len(drawn(fig).axes) == 3 and "epoch 3" in texts(fig)  # from 1, as in the log


@pytest.mark.parametrize("people", [2, 9])
def test_confusion_figures(rng, people):
    names = PEOPLE[:people]
    matrices = {(a, o): rng.integers(0, 9, (5, 5)) for a in names for o in names}
    fig = drawn(figures.confusion_grid(matrices))
    assert len(fig.axes) == people**2
    framed = [ax for ax in fig.axes if ax.patches]
    assert len(framed) == people
    cells = fig.axes[0].texts
    assert len(cells) == (25 if people == 2 else 1)
    fig = drawn(figures.confusion_map(matrices["Obs1", "Obs2"], "Obs1", "Obs2"))
    assert "AIO Obs1" in texts(fig) and str(matrices["Obs1", "Obs2"].sum()) in texts(fig)
    table = [{"aio": a, "observer": o, "metric": "accuracy", "value": rng.random(), "n": 9} for a, o in matrices]
    fig = drawn(figures.cross_comparison_map(pd.DataFrame(table)))
    assert len(fig.axes[0].patches) == people


def test_confusion_rows_are_the_persons_votes():
    counts = np.zeros((5, 5), int)
    counts[0, 4] = 7  # voted 1, predicted 5: top right
    ax = drawn(figures.confusion_map(counts)).axes[0]
    assert ax.images[0].get_array()[0, 4] == 1
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_attention_figures(rng):
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    maps = rng.random((3, 2, 8, 8))
    drawn(figures.attention_across_aios(images, maps, PEOPLE[:3], ["a", "b"]))
    fig = drawn(figures.attention_comparison(images, maps, PEOPLE[:3]))
    heat = [im for ax in fig.axes for im in ax.images if im.get_alpha() == 0.6]
    assert len(heat) == 6 and len({im.get_clim() for im in heat}) == 1  # one scale for all of them
    low, high = heat[0].get_clim()
    shares = maps / maps.mean((2, 3), keepdims=True)
    assert -low == high and np.mean(np.abs(shares - shares.mean(0)) > high) <= 0.02
    even = 1 + 0.002 * maps  # hardly any difference is not shown in full colour
    fig = drawn(figures.attention_comparison(images, even, PEOPLE[:3]))
    assert {im.get_clim() for ax in fig.axes for im in ax.images if im.get_alpha() == 0.6} == {(-0.5, 0.5)}
    fig = drawn(figures.attention_across_aios(images, even, PEOPLE[:3]))
    assert {im.get_clim() for ax in fig.axes for im in ax.images if im.get_alpha() == 0.6} == {(0, 2)}
    assert texts(fig).count("even: nothing to see") == 6
    assert (
        texts(drawn(figures.attention_comparison(images, even, PEOPLE[:3]))).count("as the mean") == 6 + 2
    )  # and the bar
    assert "nothing to see" not in texts(drawn(figures.attention_across_aios(images, maps, PEOPLE[:3])))
    assert "nothing to see" in texts(drawn(figures.attention_across_aios(images, maps, PEOPLE[:3], floor=2.0)))
    drawn(figures.attention_layers_heads(rng.random((2, 4, 8, 8)), images[0]))
    drawn(figures.attention_layers_heads(rng.random((6, 16, 8, 8))))
    drawn(figures.image_grid([images, images], ["class 1", "class 2"], ["x", "y"]))


def test_maps_stand_beside_their_images(rng):
    images = [rng.integers(0, 256, (64, 80, 3), dtype=np.uint8) for _ in range(2)]
    masks = np.zeros((2, 64, 80), bool)
    masks[:, :32] = True
    even, votes = np.ones((2, 4, 4)), np.stack([np.full((4, 5), 2.0), np.full((4, 5), 4.0)])
    columns = {"grad_cam": rng.random((2, 8, 8)), "occlusion": even, "local": votes}
    fig = drawn(figures.maps_beside_images(images, columns, ["a", "b"], masks, ("local", "votes")))
    assert {"map, in multiples of an even share", "below the best quality, votes"} <= {
        ax.get_ylabel() for ax in fig.axes
    }
    assert texts(fig).count("even: nothing to see") == 2 and "1 (even)" in texts(fig)
    assert [bool(ax.collections) for ax in fig.axes[:8]] == [True, False, False, False] * 2  # the place, on the images
    limits = [ax.images[1].get_clim() for ax in fig.axes[1:4]]
    assert limits[0] == limits[1] and limits[0][0] == 0 and limits[2] == (2, 4)
    fig = drawn(figures.maps_beside_images(None, {"attention": [np.eye(3), np.eye(4)]}))
    assert "image" not in [ax.get_title() for ax in fig.axes] and fig.axes[0].images[0].get_clim()[1] >= 2


def test_figures_of_believing(rng):
    rows = [(m, k, 0.6, 0.5, 0.7) for m in ("a", "b") for k in ("grad_cam", "baseline: local contrast")]
    table = pd.DataFrame(rows, columns=["model", "method", "value", "low", "high"])
    assert {"a", "b"} <= {ax.get_title() for ax in drawn(figures.localisation_plot(table)).axes}
    rows = [("a", k, share, 1 - share) for k in ("grad_cam", "attention") for share in (0.5, 1.0)]
    fig = drawn(figures.cascade_plot(pd.DataFrame(rows, columns=["model", "method", "shuffled", "value"])))
    assert "grad_cam" in texts(fig) and "attention" in texts(fig)


def test_vote_distributions_frame_the_own_vote():
    p = np.full((4, 5), 0.2)
    frame = pd.DataFrame(p, columns=["p1", "p2", "p3", "p4", "p5"])
    frame = frame.assign(
        observer=["Obs1", "Obs2"] * 2, image=["x/a.png"] * 2 + ["x/b.png"] * 2, target=[1, 5, np.nan, 3]
    )
    fig = drawn(figures.vote_distributions(frame, ["x/a.png", "x/b.png"]))
    assert [len(ax.patches) for ax in fig.axes[:2]] == [2, 1]
    assert fig.axes[0].patches[1].get_x() == 3.5 and "a.png" in texts(fig)


def test_attention_figures_do_without_pixels(rng):
    maps = rng.random((3, 2, 8, 8))
    fig = drawn(figures.attention_across_aios(None, maps, PEOPLE[:3], ["a", "b"]))
    assert "image" not in texts(fig) and "AIO Obs1" in texts(fig)
    assert len(drawn(figures.attention_comparison(None, maps, PEOPLE[:3])).axes) == 7  # and the scale


def test_gains_plot_puts_the_largest_gain_on_top():
    rows = [("b", "accuracy", -0.1, -0.2, 0.0, 0.5), ("a", "accuracy", 0.2, 0.1, 0.3, 0.01)]
    table = pd.DataFrame(rows, columns=["against", "metric", "gain", "low", "high", "p_holm"])
    few = table.assign(p_least=0.078, n_contents=7, p_holm=0.078)
    assert "cannot be tested: 7 contents give no p below 0.078" in texts(drawn(figures.gains_plot(few, "aio")))
    table = table.assign(p_least=1e-4, n_contents=20)
    fig = drawn(figures.gains_plot(table, "aio"))
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["against a", "against b"]
    assert "not significant" in texts(fig)


def test_bias_of_two_people_has_no_correlation():
    two = pd.DataFrame({"observer": ["Obs1", "Obs2"], "bias": [0.1, -0.2]})
    words = texts(drawn(figures.bias_scatter(two, two)))
    assert "2 observers" in words and "nan" not in words


def rated_images(rng, contents=4, each=6):
    """Images frame with two distortions at three levels."""
    rows = [
        (f"c{c}/{kind}{level}.png", f"c{c}", f"c{c}.png", kind, level, 5 - level + rng.normal(0, 0.2), 0.5, 9)
        for c in range(contents)
        for kind in ("blur", "jpeg")
        for level in range(1, each // 2 + 1)
    ]
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    return pd.DataFrame(rows, columns=columns)


def test_data_figures(rng):
    images = rated_images(rng)
    assert "24 images" in texts(drawn(figures.mos_distribution(images)))
    assert len(drawn(figures.mos_distribution(images.assign(mos_std=np.nan))).axes) == 1  # no spread is known
    assert "4 of" not in texts(drawn(figures.content_spread(images))) and "2 of 4" in texts(
        drawn(figures.content_spread(images, at_most=2))
    )
    assert "blur\nn = 12, SROCC −" in texts(drawn(figures.distortion_levels(images)))
    facts = pd.DataFrame({"height": 10, "bytes": rng.uniform(1, 9, 24), "bits_per_pixel": 1.0}, index=images["image"])
    assert "all the same" in texts(drawn(figures.file_facts_plot(facts, images.set_index("image")["mos"])))
    part = np.array(["train", "val", "test"])[np.arange(24) % 3]
    split = images[["image", "content"]].assign(fold=np.arange(24) % 2, part=part)
    assert "fold 1" in texts(drawn(figures.split_balance(split, images)))


def test_leak_figures(rng):
    leaks = pd.DataFrame({"kind": ["content"] * 3 + ["near-duplicate"]})
    fig = drawn(figures.leak_counts({"careless": leaks, "ours": leaks[:0]}))
    assert texts(fig).count("nothing shared") == 1
    assert max(bar.get_width() for bar in fig.axes[0].patches) == 3
    pairs = pd.DataFrame({"image_a": ["a.png"] * 3, "image_b": ["b" * 40, "c.png", "d.png"]})
    pairs["similarity"] = [0.99, 0.85, 0.6]
    shown = drawn(figures.worst_pairs(pairs, 0.8, at_most=2))
    assert "c.png" in texts(shown) and "d.png" not in texts(shown) and "b" * 40 not in texts(shown)
    picture = rng.integers(0, 255, (50, 80, 3), dtype=np.uint8)
    assert "0.990" in texts(drawn(figures.pair_sheet(pairs, lambda name: picture)))
    images = rated_images(rng)
    assert len([ax for ax in drawn(figures.contact_sheet(images, lambda name: picture, 5)).axes if ax.images]) == 5
    found = pd.DataFrame({"kind": ["mirrored"], "n": [4], "found": [0.75], "similarity": [0.9], "false": [0]})
    assert "75 % of 4" in texts(drawn(figures.recall_of_copies(found)))


@pytest.mark.parametrize("people", [4, 9])
def test_people_figures(rng, people):
    from iqasuite.evaluation.subjects import (
        agreement,
        ceilings,
        repetition,
        screening,
        subject_model,
        thresholds,
    )

    table = votes(rng, people).assign(duration=rng.uniform(0.2, 3, people * 2 * 30), timestamp=pd.NaT)
    mos = table.groupby("image")["vote"].mean()
    model = subject_model.fit_subject_model(table, mos.index.to_series().str[-1])
    assert PEOPLE[0] in texts(drawn(figures.subject_model_plot(model)))
    drawn(figures.ambiguity_plot(model.ambiguity))
    assert "30 images" in texts(drawn(figures.recovered_quality_plot(model.quality, mos)))
    drawn(figures.pairwise_map(agreement.pairwise_agreement(table)))
    drawn(figures.reliability_plot(agreement.icc(table)))
    fit = agreement.sos_parameter(table, n_boot=20)
    assert "a = " in texts(drawn(figures.sos_plot(fit)))
    assert "nan" not in texts(drawn(figures.sos_plot(replace(fit, low=np.nan, high=np.nan))))
    assert "session 2 − 1" in texts(drawn(figures.drift_plot(repetition.session_drift(table, n_boot=20))))
    assert "log of the response time" in texts(drawn(figures.position_plot(repetition.position_effects(table))))
    times = repetition.response_time(table, n_boot=20)
    assert "0 off" in texts(drawn(figures.response_time_plot(times, repetition.duration_by_disagreement(table))))
    assert "2 | 3" in texts(drawn(figures.thresholds_plot(thresholds.personal_thresholds(table, mos), "MOS")))
    ceiling = ceilings.retest_ceiling(table, n_boot=5)
    reached = pd.DataFrame({"observer": PEOPLE[:people], "model": "a rule", "value": 0.4})
    fig = drawn(figures.ceilings_plot(ceiling, repetition.retest(table, n_boot=20), reached))
    assert "a rule" in texts(fig) and "model-free bracket" in texts(fig)
    bt500, p913 = screening.screen_bt500(table), screening.screen_p913(table)
    assert f"of {people} flagged" in texts(drawn(figures.screening_plot(bt500, p913)))
    assert "slope 1.00" in texts(drawn(figures.two_tests_plot(mos, mos, "here", "there")))


def test_faulty_sessions_stand_out(rng):
    from iqasuite.datasets.sessions import faulty_runs, session_report

    table = votes(rng, 3).assign(duration=np.nan, timestamp=pd.NaT)
    last = (table["observer"] == "Obs3") & (table["session"] == 2)
    table.loc[last, "image"] = "other" + table.loc[last, "image"]
    fig = drawn(figures.repeats_plot(session_report(table), faulty_runs(table)))
    assert texts(fig).count("!") == 1 and "0 % !" in texts(fig)


def test_diagrams_have_few_colours_and_photographs_small_losses():
    import io

    from PIL import Image
    from skimage.data import astronaut

    from iqasuite.report.figures.style import png_of, webp_of

    for fig, few, off in (
        (figures.confusion_map(np.eye(5, dtype=int)), True, 0.3),
        (figures.image_grid([[astronaut()]], ["a"]), False, 3.0),
    ):
        plain = io.BytesIO()
        fig.savefig(plain, format="png", bbox_inches="tight")  # the layout has come to rest after this
        picture, shown, plain = Image.open(io.BytesIO(webp_of(fig))), Image.open(io.BytesIO(png_of(fig))), io.BytesIO()
        assert shown.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
        fig.savefig(plain, format="png", bbox_inches="tight")
        whole = Image.open(plain).convert("RGB")
        assert picture.format == "WEBP" and picture.size == whole.size
        assert (picture.convert("RGB").getcolors(256) is not None) == few
        assert np.abs(np.asarray(picture.convert("RGB"), int) - np.asarray(whole, int)).mean() < off


def test_patch_figures(rng):
    from iqasuite.images.patches import scan_order

    orders = {name: scan_order(3, 4, name) for name in ("raster", "snake")}
    shown = texts(drawn(figures.scan_orders(orders, 3, 4)))
    assert "raster: 2 jumps" in shown and "snake: 0 jumps" in shown
    assert "20 images" in texts(drawn(figures.feature_plane(rng.normal(size=(20, 2)), rng.uniform(1, 5, 20))))


def test_spread_of_votes_shows_pictures_and_means_of_groups():
    predicted = np.linspace(5, 25, 80)
    fig = figures.spread_of_votes(predicted, predicted + 1, groups=4)
    dots, *means = fig.axes[0].collections
    assert len(dots.get_offsets()) == 80 and len(means) == 4
    for mean in means:
        x, y = mean.get_offsets()[0]
        assert y - x == pytest.approx(1)


def test_nuisances_of_both_kinds_have_a_panel_each(rng):
    names = [f"i{k}" for k in range(60)]
    codec = ["$x_1^2$", "", *(f"codec {k} of a very long name" for k in range(23))] * 3
    nuisances = pd.DataFrame({"bit_rate": rng.normal(size=60), "codec": codec[:60]}, index=names)
    fig = drawn(figures.nuisance_plot(nuisances, pd.Series(rng.uniform(1, 5, 60), index=names)))
    rate, codecs = fig.axes
    assert rate.get_xlabel() == "bit rate" and "60 images, SROCC" in rate.get_title()
    labels = [label.get_text() for label in codecs.get_xticklabels()]
    assert len(labels) == 20 and "25 categories of which the 20 most frequent" in codecs.get_title()
    assert r"\$x_1^2\$" in labels and "(empty)" in labels and max(map(len, labels)) <= 20
    means = codecs.lines[0].get_ydata()
    assert (np.diff(means) >= 0).all()


def test_a_crowd_stands_side_by_side():
    people = [f"user{n}" for n in range(1, 101)]
    rows = pd.DataFrame({"observer": people, "metric": "accuracy", "value": np.linspace(0, 1, 100)})
    scores = pd.concat(
        [rows.assign(model=m, low=rows["value"] - 0.1, high=rows["value"] + 0.1) for m in ("A", "baseline: B")]
    )
    fig = figures.observer_scores(scores)
    own = fig.axes[0].collections[1].get_offsets()
    assert fig.get_size_inches()[1] == 5 and own[:, 1].tolist() == sorted(rows["value"], reverse=True)


def test_maps_of_a_crowd_are_a_choice_or_have_no_names():
    people = [f"user{n}" for n in range(1, 41)]
    matrices = {(a, o): np.eye(5, dtype=int) * (int(o[4:]) + 1) for a in people for o in people}
    assert len(figures.confusion_grid(matrices).axes) == 12 * 12
    table = pd.DataFrame({"aio": a, "observer": o, "metric": "accuracy", "value": 0.5} for a in people for o in people)
    fig = figures.cross_comparison_map(table)
    assert max(fig.get_size_inches()) < 11 and not fig.axes[0].get_xticks().size


def test_a_crowds_ratings_fit_on_a_page(rng):
    people = [f"user{n}" for n in range(1, 101)]
    table = pd.DataFrame({"observer": people, "n": 40, "srocc": 0.9, "low": 0.8, "high": 0.95})
    fig = figures.agreement_plot(table)
    assert fig.get_size_inches()[1] == 12 and not fig.axes[0].get_yticks().size
    own = pd.concat([pd.DataFrame({"observer": name, "session": 1, "vote": rng.integers(1, 6, 20)}) for name in people])
    fig = figures.votes_histogram(own)
    assert "42 of 100 observers" in texts(fig) and len(fig.axes) == 42
