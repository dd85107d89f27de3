"""What the page answers: from pictures and the name of a model to HTML, or an InputError with one sentence."""

from __future__ import annotations

import base64
import csv
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from iqasuite.app import pictures as draw
from iqasuite.csv_texts import no_formula
from iqasuite.errors import InputError
from iqasuite.inference.pairs import load_full_reference, predict_pairs
from iqasuite.inference.predictor import Map, Prediction, Predictor
from iqasuite.names import natural_key
from iqasuite.pixel_values import RGB_TO_YCC
from iqasuite.weights.catalogue import Entry

_log = logging.getLogger(__name__)
PAIR_METRICS = ("ms_ssim", "ssim", "psnr", "vif", "gmsd", "haarpsi")  # of those that a large picture can wait for
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
        """What a no-reference model says of a picture uint8 (H, W, 3)."""
        with self._lock:
            return self._network(name).predict([image])[0]

    def map(self, name: str, image: np.ndarray) -> Map | None:
        """Its map of a picture; None where it has none."""
        with self._lock:
            network = self._network(name)
            try:
                return network.map(image)
            except Exception:  # a picture without its map is worth more than none
                _log.exception("no map by %s of a picture %s", name, image.shape)
                return None

    def compare(self, name: str, reference: np.ndarray, distorted: np.ndarray) -> tuple[float, float]:
        """What a full-reference model says of a pair, and of the reference with itself."""
        with self._lock:
            network, card = self._network(name)
            seen = card.get("preprocessing", {})
            scores, _ = predict_pairs(
                [network],
                [reference] * 2,
                [distorted, reference],
                tile=seen.get("tile"),
                reduce_to=seen.get("reduce_to"),
            )
        return float(scores[0]), float(scores[1])

    def _network(self, name: str):
        entry = self.entry(name)
        if name not in self._loaded:
            self._loaded[name] = load_full_reference(entry.path) if entry.needs_reference else Predictor(entry)
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(name)
        return self._loaded[name]


def simulated(entry: Entry) -> bool:
    """Whether its card says that the people behind it are simulated."""
    return "simulated" in f"{entry.title} {entry.card.get('trained_on', '')}".lower()


def about(entry: Entry) -> str:
    """On what a model was trained, what it reached and where it ends, from its card, as HTML."""
    card = entry.card
    beside = ". ".join(f"{where}: {_listed(table)}" for where, table in entry.rank_baselines.items())
    lines = [
        ("Trained on", card.get("trained_on", "")),
        ("Reached", _listed(entry.reached)),
        ("Beside statistics of the image", beside),
        ("Limits", card.get("limits", "")),
    ]
    told = "".join(f"<dt>{what}</dt><dd>{escape(str(text))}</dd>" for what, text in lines if text)
    return f'<dl class="iqa-about">{told or "<dd>Its card says nothing more.</dd>"}</dl>'


def _listed(numbers: Mapping[str, str]) -> str:
    return "; ".join(f"{what} {value}" for what, value in numbers.items())


def one_picture(networks: Networks, name: str, image: np.ndarray) -> Iterator[tuple[str, str | None]]:
    """Score, scale and distribution of a picture, at first with None, then with the picture under its map."""
    entry, prediction = networks.entry(name), networks.predict(name, image)
    if prediction.distribution is None:
        votes = draw.sentence("This model gives one number; how people would differ it does not say.")
    else:
        votes = draw.vote_bars(prediction.distribution, prediction.vote)
    answer = _score(entry, prediction) + _panel("How likely each vote is", votes)
    yield answer, None
    found = networks.map(name, image)
    title = "Where it looks" if found and found.kind == "attention" else "Where the quality lies"
    yield answer, _panel(title, _laid(entry, image, found, None))


def two_pictures(networks: Networks, name: str, images: Sequence[np.ndarray]) -> str:
    """Scores of two pictures, their difference, and their maps in the same colours."""
    entry = networks.entry(name)
    predicted = [networks.predict(name, image) for image in images]
    maps = [networks.map(name, image) for image in images]
    ends = _ends(entry, [found for found in maps if found])
    sides = "".join(
        f"<section><h3>{which}</h3>{_score(entry, prediction)}{_laid(entry, image, found, ends)}</section>"
        for which, image, prediction, found in zip("AB", images, predicted, maps, strict=True)
    )
    difference = predicted[1].score - predicted[0].score
    if abs(difference) < 0.005 * (entry.high - entry.low):
        said = "the model sees no difference to speak of"
    else:
        said = f"the model finds {'B' if difference > 0 else 'A'} better"
    shown = draw.number(difference)
    head = (
        f'<p class="iqa-difference">B − A: <b class="iqa-value">{"" if shown[0] == "−" else "+"}{shown}</b> '
        f"on the scale “{escape(entry.scale)}”, {entry.low:g} to {entry.high:g}: {said}.</p>"
    )
    return f'{head}<div class="iqa-two">{sides}</div>'


def people(networks: Networks, set_name: str, image: np.ndarray) -> str:
    """The votes of all AIOs of a set for a picture, as a strip of people who disagree, and each one's attention."""
    members = [entry for entry in networks.entries.values() if entry.set_name == set_name]
    if not members:
        raise InputError(f"artificial observers {str(set_name)[:60]!r}: not offered here")
    members.sort(key=lambda entry: natural_key(entry.observer))
    predicted = [networks.predict(entry.name, image) for entry in members]
    votes = [prediction.vote for prediction in predicted]
    strip = draw.people_strip([e.observer for e in members], [j.distribution for j in predicted], votes)
    who = "simulated people" if all(map(simulated, members)) else "people"
    spread = f", between people SD {np.std(votes, ddof=1):.2f}" if len(votes) > 1 else ""
    told = (
        f"Artificial observers of {len(members)} {who}: expected votes from {min(votes):.1f} to {max(votes):.1f}, "
        f"mean {np.mean(votes):.2f}{spread}. Circles: how likely a vote is (area); diamond and line: expected vote ± "
        "SD of one person's votes."
    )
    said = _panel("What each of them would say", strip + draw.sentence(told))
    return f'<div class="iqa-two">{said}{_attention(networks, members, image)}</div>'


def with_original(networks: Networks, reference: np.ndarray, distorted: np.ndarray) -> tuple[str, str]:
    """Full-reference metrics and networks of a pair; and the distorted picture with its map of errors.

    Raises:
        InputError: pictures of different sizes, or too large.
    """
    sizes = [f"{x.shape[1]}×{x.shape[0]}" for x in (reference, distorted)]
    if reference.shape != distorted.shape:
        raise InputError(f"the original has {sizes[0]} pixels, the other {sizes[1]}; expected one size")
    if reference.shape[0] * reference.shape[1] > MAX_PAIR_PIXELS:
        raise InputError(f"a pair of {sizes[0]} pixels; expected at most {MAX_PAIR_PIXELS / 1e6:g} million here")
    rows = [_metric_row(name, reference, distorted) for name in PAIR_METRICS]
    rows += [
        _network_row(networks, entry, reference, distorted)
        for entry in networks.entries.values()
        if entry.needs_reference
    ]
    shown = draw.table(("method", "this pair", "two of the same", "better"), rows, numbers=(1, 2))
    learnt = [entry for entry in networks.entries.values() if entry.needs_reference]
    cards = "".join(f"<h4>{escape(entry.name)}</h4>{about(entry)}" for entry in learnt)
    return _panel("How far from the original", shown) + cards, _error_map(reference, distorted)


def many(networks: Networks, name: str, pictures: Iterator[tuple[str, np.ndarray | str]]) -> Iterator[str]:
    """The table so far after each picture, at the end with the CSV to download.

    Args:
        networks: of the page.
        name: of a no-reference model.
        pictures: name of each file, and its pixels or the sentence why there are none.
    """
    entry, rows = networks.entry(name), []
    for file, image in pictures:
        try:
            if isinstance(image, str):
                raise InputError(image)
            prediction = networks.predict(name, image)
            rows.append((file, f"{prediction.score:.4g}", prediction.category, ""))
        except InputError as error:
            rows.append((file, "", "", str(error)))
        yield _many_table(entry, rows)
    yield _many_table(entry, rows) + _csv_link(entry, rows)


def _many_table(entry: Entry, rows: Sequence[Sequence[str]]) -> str:
    good = sum(1 for row in rows if not row[3])
    told = f"{good} of {len(rows)} scored by {entry.title}; {entry.scale}, {entry.low:g} (worst) to {entry.high:g}."
    return (
        draw.sentence(told)
        + _caution(entry)
        + draw.table(
            ("file", "score", "category"),
            [(file, value, problem or category) for file, value, category, problem in rows],
            (1,),
        )
    )


def _csv_link(entry: Entry, rows: Sequence[Sequence[str]]) -> str:
    """A link that holds the CSV itself: no file of it lies on the server."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", "model", "scale", "low", "high", "score", "category", "problem"))
    model = (no_formula(entry.name), no_formula(entry.scale), f"{entry.low:g}", f"{entry.high:g}")
    for name, score, category, problem in rows:
        writer.writerow((no_formula(name), *model, score, category, no_formula(problem)))
    content = base64.b64encode(file.getvalue().encode()).decode()
    return f'<a class="iqa-download" download="scores.csv" href="data:text/csv;base64,{content}">Download as CSV</a>'


def _score(entry: Entry, prediction: Prediction) -> str:
    badge = '<span class="iqa-badge">simulated</span>' if simulated(entry) else ""
    what = f"vote of {entry.observer}" if entry.observer else "mean opinion"
    line = draw.scale_line(prediction.score, prediction.category, entry.low, entry.high, entry.scale)
    return (
        f'<div class="iqa-score"><span>{escape(what)}, predicted {badge}</span>'
        f'<b class="iqa-value">{draw.number(prediction.score)}</b>'
        f"<span>on the scale “{escape(entry.scale)}”, {entry.low:g} (worst) to {entry.high:g}: "
        f'<b class="iqa-category">{prediction.category}</b></span></div>{line}{_caution(entry)}'
    )


def _caution(entry: Entry) -> str:
    return draw.sentence(entry.caution) if entry.caution else ""


def _panel(title: str, content: str) -> str:
    return f'<section class="iqa-panel"><h3>{escape(title)}</h3>{content}</section>'


def _coloured(entry: Entry, found: Map) -> tuple[np.ndarray, str]:
    """A map in the units that its colour bar shows, and their name."""
    if found.kind == "quality":
        values = entry.low + (found.values - 1) / 4 * (entry.high - entry.low)
        return values, f"quality of each neighbourhood by itself, {entry.scale}"
    return found.values * found.values.size, "attention, times that of a place of average attention"


def _ends(entry: Entry, maps: Sequence[Map]) -> tuple[float, float]:
    """Ends of the colours for several maps: of quality a quarter of the scale or more, so that little looks little."""
    if not maps:
        return 0.0, 1.0
    values = [_coloured(entry, found)[0] for found in maps]
    low, high = min(float(x.min()) for x in values), max(float(x.max()) for x in values)
    if maps[0].kind != "quality":
        return 0.0, max(high, 1.5)
    middle, reach = (low + high) / 2, max(high - low, (entry.high - entry.low) / 4) / 2
    middle = min(max(middle, entry.low + reach), entry.high - reach)
    return middle - reach, middle + reach


def _laid(entry: Entry, image: np.ndarray, found: Map | None, ends: tuple[float, float] | None) -> str:
    size = image.shape[:2]
    if found is None:
        return draw.laid(draw.picture_uri(image), "", size, "the picture", "This model has no map.")
    low, high = ends or _ends(entry, [found])
    values, title = _coloured(entry, found)
    over = draw.map_uri(values, low, high, size)
    picture = draw.laid(draw.picture_uri(image), over, size, f"the picture with its {found.kind} map")
    return picture + draw.colour_bar(low, high, title) + _evenly([found])


def _evenly(maps: Sequence[Map]) -> str:
    """A sentence for maps of attention that show nothing because there is nothing to show."""
    reach = max(np.ptp(found.values) * found.values.size for found in maps)
    if maps[0].kind != "attention" or reach >= 0.1:
        return ""
    return draw.sentence("Attention is nearly the same everywhere: the last layer looks at the picture as a whole.")


def _attention(networks: Networks, members: Sequence[Entry], image: np.ndarray) -> str:
    """Small multiples of the members' maps in the same colours, over one small picture that is sent once."""
    maps = {entry: found for entry in members if (found := networks.map(entry.name, image))}
    if not maps:
        return ""
    low, high = _ends(members[0], list(maps.values()))
    size, cells = image.shape[:2], []
    for entry, found in maps.items():
        over = draw.map_uri(_coloured(entry, found)[0], low, high, size)
        cells.append(
            f'<figure><div class="iqa-laid iqa-shared" style="aspect-ratio:{size[1]}/{size[0]}">'
            f'<img class="iqa-over" src="{over}" alt="{found.kind} map of {escape(entry.observer)}"></div>'
            f"<figcaption>{escape(entry.observer)}</figcaption></figure>"
        )
    shared = f"--picture:url({draw.picture_uri(image, 320)})"
    bar = draw.colour_bar(low, high, _coloured(members[0], next(iter(maps.values())))[1])
    return _panel(
        "Where each of them looks",
        f'<div class="iqa-many" style="{shared}">{"".join(cells)}</div>{bar}{_evenly([*maps.values()])}',
    )


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
    return title, draw.number(value), draw.number(same), "higher"


def _error_map(reference: np.ndarray, distorted: np.ndarray) -> str:
    luma = np.array(RGB_TO_YCC[0], np.float32)
    error = np.abs(reference.astype(np.float32) @ luma - distorted.astype(np.float32) @ luma)
    step = max(1, -(-max(error.shape) // 240))
    rows, columns = (max(1, side // step) for side in error.shape)
    cut = error[: rows * step, : columns * step]
    mean = cut.reshape(rows, step, columns, step).mean((1, 3)) if min(error.shape) >= step else error
    high = max(8.0, float(np.percentile(mean, 99.5)))
    size = distorted.shape[:2]
    over = draw.map_uri(mean, 0, high, size)
    picture = draw.laid(draw.picture_uri(distorted), over, size, "the distorted picture with its map of errors")
    title = f"mean absolute difference of luminance, gray levels of 255, in squares of {step}×{step} pixels"
    return picture + draw.colour_bar(0, high, title)
