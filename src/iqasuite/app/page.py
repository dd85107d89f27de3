"""The page as Gradio shows it: five tabs, their events, and what it refuses. Nothing of it is kept or sent anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from iqasuite.app import answers
from iqasuite.app.drawing import html
from iqasuite.app.examples import examples_in
from iqasuite.app.uploads import KEPT, read_upload, shown_name
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.inference.opinions import preferred
from iqasuite.paths import weights_roots
from iqasuite.weights.catalogue import available

_log = logging.getLogger(__name__)
TITLE = "IQA Suite: image quality as individual observers see it"
WHAT = (
    "Trained networks predict here how observers would rate an image. These are predictions, not votes, and they hold "
    "for images like those that a network has learnt from; the limits on its card stand beside it. Images stay on the "
    "computer that runs this page, for {minutes} minutes at most."
)
ASK = "Give an image, or choose an example below."
MOST_FILES = 200
HOW_TO_RATE = (
    "Rate twenty images, and get an observer that votes as you do: iqasuite rate FOLDER --observer NAME opens the page "
    "for it; iqasuite app --rate FOLDER shows it here. Votes are taken on this computer only."
)


class Page(gr.Blocks):
    """Blocks that take uploads only: Gradio would fetch what a client gives as the address of a file."""

    def validate_inputs(self, block_fn, inputs):
        """Refuse files that were not uploaded here, besides what Gradio refuses."""
        folder = Path(get_upload_folder()).resolve()
        for path in _paths(inputs):
            if not Path(path).resolve().is_relative_to(folder):
                raise gr.Error("expected a file that was uploaded here", print_exception=False)
        super().validate_inputs(block_fn, inputs)


def build(folder: Path, rating: bool = False) -> gr.Blocks:
    """The page, its default model loaded and warm.

    Args:
        folder: of `uploads.private_folder`, where uploads and examples lie.
        rating: whether there is something to rate (`rating.Rating`).

    Raises:
        InputError: no model without a reference in the weights folders.
    """
    # A predictor needs the ends of its scale; one of pairs says itself what its scores are.
    usable = [entry for entry in available() if entry.needs_reference or abs(entry.high - entry.low) > 0]
    networks = answers.Networks(preferred(usable))
    offered = [entry for entry in networks.entries.values() if not entry.needs_reference]
    if not offered:
        where = " or ".join(str(root) for root in weights_roots())
        raise InputError(f"no predictor of images in {where}; expected .safetensors with a card, as in `weights/`")
    examples = examples_in(folder / "examples")
    list(answers.one_image(networks, offered[0].name, read_image(examples["coffee reference.png"])))
    with Page(title="IQA Suite", analytics_enabled=False, delete_cache=(60, KEPT)) as page:
        gr.HTML(f'<div class="iqa-head"><h1>{TITLE}</h1><p>{WHAT.format(minutes=KEPT // 60)}</p></div>')
        with gr.Tab("One image"):
            _one_tab(networks, folder, examples)
        with gr.Tab("Two images"):
            _two_tab(networks, folder, examples)
        with gr.Tab("With its reference"):
            _pair_tab(networks, folder, examples)
        with gr.Tab("Many images"):
            _many_tab(networks, folder, examples)
        with gr.Tab("Rate"):
            gr.HTML(html.rating() if rating else html.sentence(HOW_TO_RATE), js_on_load=None)
    return page


def _one_tab(networks: answers.Networks, folder: Path, examples: dict[str, Path]) -> None:
    with gr.Row():
        with gr.Column(scale=5):
            image = _image("Image")
            model = _model_menu(networks)
            _offer([[path] for path in examples.values()], [image])
        with gr.Column(scale=7):
            answer = _answer("one-answer", ASK)
            laid = _answer("one-map")
            _opacity("one-map", "one-observers")
    sets = sorted({entry.set_name for entry in networks.entries.values()} - {""})
    with gr.Column(visible=bool(sets)):
        chosen = gr.Dropdown(sets, value=next(iter(sets), None), label="Artificial observers", visible=len(sets) > 1)
        strip = _answer("one-observers")

    def predict(payload, name: str) -> Iterator[tuple]:
        if not payload:
            yield html.sentence(ASK), ""
            return
        for answered, mapped in answers.one_image(networks, name, read_upload(_path(payload), folder)):
            yield answered, gr.skip() if mapped is None else mapped

    def observers(payload, name: str) -> Iterator[str]:
        try:
            yield answers.observers(networks, name, read_upload(_path(payload), folder)) if payload and name else ""
        except InputError:
            yield ""  # the answer beside the image has the reason

    first = _on([image.change], predict, [image, model], [answer, laid], "predict")
    first.then(_answering(observers, 1), [image, chosen], strip, **_QUIETLY)
    _on([model.change], predict, [image, model], [answer, laid], "predict_again")
    _on([chosen.change], observers, [image, chosen], [strip], "observers")


def _two_tab(networks: answers.Networks, folder: Path, examples: dict[str, Path]) -> None:
    ask = "Give two images, or choose an example below."
    model = _model_menu(networks)
    with gr.Row():
        images = [_image("Image A"), _image("Image B")]
    pairs = [("coffee reference.png", "coffee jpeg.jpg"), ("coffee blur.png", "coffee noise.png")]
    _offer([[examples[name] for name in pair] for pair in pairs], images)
    answer = _answer("two-answer", ask)
    _opacity("two-answer")

    def compare(first, second, name: str) -> Iterator[str]:
        if first and second:
            pixels = [read_upload(_path(payload), folder) for payload in (first, second)]
            yield answers.two_images(networks, name, pixels)
        else:
            yield html.sentence(ask)

    _on([images[0].change, images[1].change, model.change], compare, [*images, model], [answer], "compare")


def _pair_tab(networks: answers.Networks, folder: Path, examples: dict[str, Path]) -> None:
    ask = "Give the reference image and a distorted one of the same size, or choose an example below."
    with gr.Row():
        images = [_image("Reference image"), _image("Distorted image")]
    pairs = [("coffee reference.png", f"coffee {kind}") for kind in ("jpeg.jpg", "blur.png", "noise.png")]
    pairs.append(("chelsea reference.png", "chelsea jpeg2000.png"))
    _offer([[examples[name] for name in pair] for pair in pairs], images)
    with gr.Row():
        with gr.Column():
            answer = _answer("pair-answer", ask)
        with gr.Column():
            laid = _answer("pair-map")
            _opacity("pair-map")

    def compare(reference, distorted) -> Iterator[tuple[str, str]]:
        if reference and distorted:
            pixels = [read_upload(_path(payload), folder) for payload in (reference, distorted)]
            yield answers.with_reference(networks, *pixels)
        else:
            yield html.sentence(ask), ""

    changes = [image.change for image in images]
    _on(changes, compare, images, [answer, laid], "with_reference", concurrency_limit=1)  # large pairs take memory


def _many_tab(networks: answers.Networks, folder: Path, examples: dict[str, Path]) -> None:
    ask = f"Give several images, at most {MOST_FILES} at a time."
    model = _model_menu(networks)
    files = gr.File(label="Images", file_count="multiple", height=180)
    gr.Examples(
        [[[str(path) for path in examples.values()]]], [files], label="Examples", example_labels=["all the examples"]
    )
    answer = _answer("many-answer", ask)

    def images(paths: Sequence[str]) -> Iterator[tuple[str, np.ndarray | str]]:
        for path in paths:
            name = shown_name(path)
            try:
                yield name, read_upload(path, folder)
            except InputError as error:
                yield name, str(error).removeprefix(f"{name}: ")

    def score(payload, name: str) -> Iterator[str]:
        paths = [_path(each) for each in payload or []]
        if len(paths) > MOST_FILES:
            raise InputError(f"{len(paths)} files; expected at most {MOST_FILES} at a time")
        if paths:
            yield from answers.many(networks, name, images(paths))
        else:
            yield html.sentence(ask)

    _on([files.change, model.change], score, [files, model], [answer], "many")


# Functions get what the browser sent: Gradio's own reading of images would convert and compress them again.
_QUIETLY: dict[str, Any] = {"preprocess": False, "show_progress": "minimal", "api_visibility": "undocumented"}


def _on(triggers, function: Callable[..., Iterator], inputs, outputs, name: str, **more):
    return gr.on(
        triggers,
        _answering(function, len(outputs)),
        inputs,
        outputs,
        api_name=name,
        trigger_mode="always_last",
        **_QUIETLY,
        **more,
    )


def _answering(function: Callable[..., Iterator], n_outputs: int) -> Callable[..., Iterator]:
    """A function of an event whose errors become its answer: one sentence, no traceback."""

    def answer(*given):
        try:
            yield from function(*given)
            return
        except InputError as error:
            sentence = str(error)
        except Exception:
            _log.exception("the page could not answer")
            sentence = "Something went wrong here, and not with the image; the program's log has the reason."
        error_line = html.sentence(sentence, "error")
        yield error_line if n_outputs == 1 else (error_line, *[""] * (n_outputs - 1))

    return answer


def _answer(name: str, text: str = "") -> gr.HTML:
    return gr.HTML(html.sentence(text) if text else "", elem_id=name, js_on_load=None)


def _image(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        height=300,
        buttons=["fullscreen"],
        sources=["upload", "webcam", "clipboard"],
    )


def _model_menu(networks: answers.Networks) -> gr.Dropdown:
    """The menu of models without a reference, and below it facts of the chosen one's card."""
    offered = [entry for entry in networks.entries.values() if not entry.needs_reference]
    menu = gr.Dropdown(
        [(entry.title, entry.name) for entry in offered], value=offered[0].name, label="Model", filterable=False
    )
    about = gr.HTML(answers.about(offered[0]), js_on_load=None)

    def facts(name: str) -> Iterator[str]:
        yield answers.about(networks.entry(name))

    menu.change(_answering(facts, 1), menu, about, queue=True, **_QUIETLY)
    return menu


def _offer(examples: Sequence[Sequence[Path]], inputs: Sequence[gr.Image]) -> None:
    labels = [" and ".join(path.stem.replace("_", " ") for path in each) for each in examples]
    gr.Examples(
        [[str(path) for path in each] for each in examples],
        list(inputs),
        label="Examples",
        example_labels=labels,
        examples_per_page=12,
    )


def _opacity(*places: str) -> None:
    """A slider for the maps in these places; the browser alone does it, the network is not asked again."""
    slider = gr.Slider(0, 100, 50, step=1, label="Opacity of the map, %", buttons=[], elem_classes="iqa-opacity")
    set_one = "document.getElementById(id)?.style.setProperty('--laid', v / 100)"
    slider.change(None, slider, None, js=f"v => {{ for (const id of {list(places)}) {set_one}; }}")


def _path(payload) -> str:
    """Path of an upload in what the browser sent."""
    path = payload.get("path") if isinstance(payload, dict) else None
    if not isinstance(path, str):
        raise InputError("expected an uploaded image")
    return path


def _paths(sent) -> Iterator[str]:
    """All texts named "path" in what a client sent."""
    if isinstance(sent, dict):
        yield from (value for key, value in sent.items() if key == "path" and isinstance(value, str))
    if isinstance(sent, (dict, list)):
        for each in sent.values() if isinstance(sent, dict) else sent:
            yield from _paths(each)
