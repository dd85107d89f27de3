"""What the page answers: from images and the name of a model to HTML, or an InputError with one sentence."""

from __future__ import annotations

import base64
import csv
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from iqasuite.app.drawing import colour_bar, html, image_uri, map_uri, number, observers_strip
from iqasuite.csv_texts import no_formula
from iqasuite.errors import InputError
from iqasuite.inference.pairs import load_pair_predictor
from iqasuite.inference.predictor import Map, Prediction, Predictor
from iqasuite.names import natural_key
from iqasuite.pixel_values import RGB_TO_YCC
from iqasuite.report.figures.maps import colour_ends, in_units
from iqasuite.report.figures.style import EVEN
from iqasuite.weights.catalogue import Entry

_log = logging.getLogger(__name__)
PAIR_METRICS = ("ms_ssim", "ssim", "psnr", "vif", "gmsd", "haarpsi")  # of those that are quick on a large image
MAX_PAIR_PIXELS = 9_000_000  # 4K; the metrics hold filtered copies in memory and take half a minute


class Networks:
    """The models of the page: each loaded once, few kept, one computing at a time.

    Args:
        entries: of the catalogue; no other model can be asked for.
        keep: how many stay loaded, the last used.
    """

    def __init__(self, entries: Sequence[Entry], keep: int = 16):
        self.entries: Mapping[str, Entry] = {entry.name: entry for entry in entries}
        self._keep, self._loaded, self._lock = keep, OrderedDict[str, Any](), threading.Lock()

    def entry(self, name: str) -> Entry:
        """The entry of a model.

        Raises:
            InputError: the page does not offer it.
        """
        if name not in self.entries:
            raise InputError(f"model {str(name)[:60]!r}: not offered here")
        return self.entries[name]

    def predict(self, name: str, image: np.ndarray) -> Prediction:
        """The prediction of a no-reference model for an image uint8 (H, W, 3)."""
        with self._lock:
            return self._network(name).predict([image])[0]

    def map(self, name: str, image: np.ndarray) -> Map | None:
        """Its map of an image; None where it has none."""
        with self._lock:
            network = self._network(name)
            try:
                return network.map(image)
            except Exception:  # a score without its map is worth more than none
                _log.exception("no map by %s of an image %s", name, image.shape)
                return None

    def compare(self, name: str, reference: np.ndarray, distorted: np.ndarray) -> tuple[float, float]:
        """The scores of a full-reference model for a pair, and for the reference with itself."""
        with self._lock:
            scores, _ = self._network(name).predict([reference] * 2, [distorted, reference])
        return float(scores[0]), float(scores[1])

    def _network(self, name: str):
        entry = self.entry(name)
        if name not in self._loaded:
            self._loaded[name] = load_pair_predictor([entry.path]) if entry.needs_reference else Predictor(entry)
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(name)
        return self._loaded[name]


def simulated(entry: Entry) -> bool:
    """Whether its observers are simulated, as its card has it."""
    return "simulated" in f"{entry.title} {entry.card.trained_on}".lower()


def about(entry: Entry) -> Markup:
    """On what a model was trained, what it reached and where it ends, from its card, as HTML."""
    tables = entry.rank_baselines.items()
    facts = {
        "Trained on": entry.card.trained_on,
        "Reached": _listed(entry.reached),
        "Beside statistics of the image": ". ".join(f"{where}: {_listed(table)}" for where, table in tables),
        "Limits": entry.card.limits,
    }
    return html.about(facts.items())


def _listed(numbers: Mapping[str, str]) -> str:
    return "; ".join(f"{what} {value}" for what, value in numbers.items())


def _score(entry: Entry, prediction: Prediction) -> Markup:
    return html.score(entry, prediction, simulated(entry))


def one_image(networks: Networks, name: str, image: np.ndarray) -> Iterator[tuple[Markup, Markup | None]]:
    """Score, scale and distribution of an image, at first with None, then with the image under its map."""
    entry, prediction = networks.entry(name), networks.predict(name, image)
    if prediction.distribution is None:
        votes = html.sentence("This model gives one number, and nothing about how observers would differ.")
    else:
        votes = html.vote_bars(list(prediction.distribution), prediction.vote)
    answer = _score(entry, prediction) + html.panel("How likely each vote is", votes)
    yield answer, None
    found = networks.map(name, image)
    title = "Where it looks" if found and found.kind == "attention" else "Where quality is lost"
    yield answer, html.panel(title, _laid(entry, image, found, None))


def two_images(networks: Networks, name: str, images: Sequence[np.ndarray]) -> Markup:
    """Scores of two images, their difference, and their maps in the same colours."""
    entry = networks.entry(name)
    predicted = [networks.predict(name, image) for image in images]
    maps = [networks.map(name, image) for image in images]
    drawn = [found for found in maps if found]
    ends = colour_ends(entry, drawn) if drawn else None
    sides = [
        html.panel(which, _score(entry, prediction) + _laid(entry, image, found, ends))
        for which, image, prediction, found in zip("AB", images, predicted, maps, strict=True)
    ]
    difference = predicted[1].score - predicted[0].score
    if abs(difference) < 0.005 * (entry.high - entry.low):
        verdict = "the model sees no difference to speak of"
    else:
        verdict = f"the model finds {'B' if difference > 0 else 'A'} better"
    return html.difference(difference, entry, verdict) + html.two(*sides)


def observers(networks: Networks, set_name: str, image: np.ndarray) -> Markup:
    """The votes of all AIOs of a set for an image, as a strip of observers who disagree, and each one's attention."""
    members = [entry for entry in networks.entries.values() if entry.set_name == set_name]
    if not members:
        raise InputError(f"artificial observers {str(set_name)[:60]!r}: not offered here")
    members.sort(key=lambda entry: natural_key(entry.observer))
    predicted = [networks.predict(entry.name, image) for entry in members]
    votes = [prediction.vote for prediction in predicted]
    strip = observers_strip([e.observer for e in members], [j.distribution for j in predicted], votes)
    who = "simulated observers" if all(map(simulated, members)) else "observers"
    spread = f", between observers SD {np.std(votes, ddof=1):.2f}" if len(votes) > 1 else ""
    read = (
        f"AIOs of {len(members)} {who}: expected votes from {min(votes):.1f} to {max(votes):.1f}, "
        f"mean {np.mean(votes):.2f}{spread}. Circles: how likely a vote is (area); diamond and line: expected vote ± "
        "SD of one observer's votes."
    )
    panel = html.panel("How each of them would vote", strip + html.sentence(read))
    return html.two(panel, _attention(networks, members, image))


def with_reference(networks: Networks, reference: np.ndarray, distorted: np.ndarray) -> tuple[Markup, Markup]:
    """Full-reference metrics and networks of a pair; and the distorted image with its map of errors.

    Raises:
        InputError: images of different sizes, or too large.
    """
    sizes = [f"{x.shape[1]}×{x.shape[0]}" for x in (reference, distorted)]
    if reference.shape != distorted.shape:
        raise InputError(f"the reference image has {sizes[0]} pixels, the other {sizes[1]}; expected one size")
    if reference.shape[0] * reference.shape[1] > MAX_PAIR_PIXELS:
        raise InputError(f"a pair of {sizes[0]} pixels; expected at most {MAX_PAIR_PIXELS / 1e6:g} million here")
    learnt = [entry for entry in networks.entries.values() if entry.needs_reference]
    rows = [_metric_row(name, reference, distorted) for name in PAIR_METRICS]
    rows += [_network_row(networks, entry, reference, distorted) for entry in learnt]
    table = html.table(("method", "this pair", "two of the same", "better"), rows, (1, 2))
    cards = [html.panel(entry.name, about(entry)) for entry in learnt]
    panel = html.panel("How far from the reference", table)
    return Markup().join([panel, *cards]), _error_map(reference, distorted)


def many(networks: Networks, name: str, images: Iterator[tuple[str, np.ndarray | str]]) -> Iterator[Markup]:
    """The table so far after each image, at the end with the CSV to download.

    Args:
        networks: of the page.
        name: of a no-reference model.
        images: name of each file, and its pixels or the sentence why there are none.
    """
    entry, rows = networks.entry(name), []
    for file, image in images:
        try:
            if isinstance(image, str):
                raise InputError(image)
            prediction = networks.predict(name, image)
            rows.append((file, f"{prediction.score:.4g}", prediction.category, ""))
        except InputError as error:
            rows.append((file, "", "", str(error)))
        yield _many_table(entry, rows)
    yield _many_table(entry, rows) + _csv_link(entry, rows)


def _many_table(entry: Entry, rows: Sequence[Sequence[str]]) -> Markup:
    good = sum(1 for row in rows if not row[3])
    head = f"{good} of {len(rows)} scored by {entry.title}; {entry.scale}, {entry.low:g} (worst) to {entry.high:g}."
    cells = [(file, value, problem or category) for file, value, category, problem in rows]
    caution = html.sentence(entry.card.caution) if entry.card.caution else Markup()
    return html.sentence(head) + caution + html.table(("file", "score", "category"), cells, (1,))


def _csv_link(entry: Entry, rows: Sequence[Sequence[str]]) -> Markup:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", "model", "scale", "low", "high", "score", "category", "problem"))
    model = (no_formula(entry.name), no_formula(entry.scale), f"{entry.low:g}", f"{entry.high:g}")
    for name, score, category, problem in rows:
        writer.writerow((no_formula(name), *model, score, category, no_formula(problem)))
    return html.download(base64.b64encode(file.getvalue().encode()).decode())


def _laid(entry: Entry, image: np.ndarray, found: Map | None, ends: tuple[float, float] | None) -> Markup:
    size = image.shape[:2]
    if found is None:
        return html.laid(image_uri(image), "", size, "the image", "This model has no map.")
    low, high = ends or colour_ends(entry, [found])
    values, title = in_units(entry, found)
    laid = html.laid(image_uri(image), map_uri(values, low, high, size), size, f"the image with its {found.kind} map")
    return laid + colour_bar(low, high, title) + _evenly([found])


def _evenly(maps: Sequence[Map]) -> Markup:
    """A sentence for maps of attention that show nothing because there is nothing to show."""
    far = max(np.abs(found.values * found.values.size - 1).max() for found in maps)
    if maps[0].kind != "attention" or far >= EVEN:
        return Markup()
    return html.sentence("Attention is nearly the same everywhere: the last layer looks at the image as a whole.")


def _attention(networks: Networks, members: Sequence[Entry], image: np.ndarray) -> Markup:
    """Small multiples of the members' maps in the same colours, over one small image that is sent once."""
    maps = {entry: found for entry in members if (found := networks.map(entry.name, image))}
    if not maps:
        return Markup()
    low, high = colour_ends(members[0], list(maps.values()))
    size, units = image.shape[:2], {entry: in_units(entry, found) for entry, found in maps.items()}
    drawn = [(e.observer, found.kind, map_uri(units[e][0], low, high, size)) for e, found in maps.items()]
    bar = colour_bar(low, high, next(iter(units.values()))[1])
    many_maps = html.many_maps(image_uri(image, 320), size, drawn)
    return html.panel("Where each of them looks", many_maps + bar + _evenly([*maps.values()]))


def _metric_row(name: str, reference: np.ndarray, distorted: np.ndarray) -> tuple[str, str, str, str]:
    from iqasuite.models.metrics.piq_metrics import METRICS, score  # takes seconds: not before the page is there

    metric = METRICS[name]
    better = "higher" if metric.sign > 0 else "lower"
    pair = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (reference, distorted)]
    try:
        value = f"{score(name, *pair).item():.4g}"
    except InputError:
        return metric.title, f"needs {metric.smallest} pixels a side", f"{metric.identical:g}", better
    return metric.title, value + (" dB" if name == "psnr" else ""), f"{metric.identical:g}", better


def _network_row(networks: Networks, entry: Entry, reference: np.ndarray, distorted: np.ndarray):
    title = f"{entry.name} (network; {entry.scale})"
    try:
        value, same = networks.compare(entry.name, reference, distorted)
    except InputError as error:
        return title, str(error).partition(": ")[2] or str(error), "", "higher"
    return title, number(value), number(same), "higher"


def _error_map(reference: np.ndarray, distorted: np.ndarray) -> Markup:
    luma = np.array(RGB_TO_YCC[0], np.float32)
    error = np.abs(reference.astype(np.float32) @ luma - distorted.astype(np.float32) @ luma)
    step = max(1, -(-max(error.shape) // 240))
    rows, columns = (max(1, side // step) for side in error.shape)
    cut = error[: rows * step, : columns * step]
    mean = cut.reshape(rows, step, columns, step).mean((1, 3)) if min(error.shape) >= step else error
    high = max(8.0, float(np.percentile(mean, 99.5)))
    size = distorted.shape[:2]
    over = map_uri(mean, 0, high, size)
    laid = html.laid(image_uri(distorted), over, size, "the distorted image with its map of errors")
    title = f"mean absolute difference of luminance, gray levels of 255, in squares of {step}×{step} pixels"
    return laid + colour_bar(0, high, title)
