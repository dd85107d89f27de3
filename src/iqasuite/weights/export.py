"""Networks outside of Python: ONNX files that take 8-bit images and give scores, for browsers, phones and servers.

Normalisation, softmax, expected vote and the scale of the score are inside the file, so that whoever runs it does no
arithmetic; what an image must look like is in the file's metadata.
"""

from __future__ import annotations

import copy
import io
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.heads import distribution
from iqasuite.paths import scratch_folder, write_atomic
from iqasuite.weights.catalogue import CATEGORIES, Entry

OPSET = 17  # onnxruntime has it since 1.12 (2022), onnxruntime-web too
INPUT, SCORE, SHARES = "image", "score", "distribution"
LARGEST_DIFFERENCE = 0.1  # of an 8-bit file from its float32 one, as a share of the scale: half a category


class Scored(nn.Module):
    """A network from 8-bit images to scores: RGB uint8 (B, H, W, 3) -> scores (B,), distributions (B, 5) if any.

    Args:
        network: normalised images (B, 3, H, W) -> logits (B, 5), or votes (B,), with its buffers `mean` and `std`.
        low, high: ends of the scale of the scores, low = worst.
    """

    factor: Tensor
    shift: Tensor
    votes: Tensor

    def __init__(self, network: nn.Module, low: float = 1.0, high: float = 5.0):
        super().__init__()
        self.network, self.low, self.high = network, low, high
        mean, std = network.get_buffer("mean"), network.get_buffer("std")
        self.register_buffer("factor", 1 / (255 * std.detach().clone()))
        self.register_buffer("shift", -mean.detach() / std.detach())
        self.register_buffer("votes", torch.arange(1.0, 6.0))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores (B,) and, where the network gives them, distributions (B, 5) of uint8 images (B, H, W, 3)."""
        x = images.to(self.factor.dtype) * self.factor + self.shift
        out = self.network(x.permute(0, 3, 1, 2)).float()
        if out.ndim == 1:
            return (self.scale(out.clamp(1, 5)),)
        shares = distribution(out)
        return self.scale((shares * self.votes).sum(-1)), shares

    def scale(self, votes: Tensor) -> Tensor:
        """Votes from 1 to 5 on the model's own scale."""
        return self.low + (votes - 1) / 4 * (self.high - self.low)


def export_onnx(network: nn.Module, path: Path | str, entry: Entry, size: tuple[int, int] | None = None) -> Path:
    """Write a no-reference network as an ONNX file that takes 8-bit images and gives scores.

    Input `image`: RGB uint8 (batch, height, width, 3), at the size that the metadata names. Outputs: `score` (batch,)
    on the model's own scale, and `distribution` (batch, 5) of votes from 1 to 5 for a network that has one. Metadata:
    title, scale, low, high, categories, preprocessing and input, the last four as JSON.

    Args:
        network: of `entry`, on any device.
        path: ends in .onnx.
        entry: what the network is and which scale its scores are on.
        size: height and width of the images; None = any, each time anew.

    Raises:
        InputError: a network that needs a reference, that is shown crops, or whose scale has no ends; another suffix.

    Note:
        Written by torch's exporter of traces: the newer one needs a further package (onnxscript).
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: expected a name that ends in .onnx")
    _check(entry)
    graph = Scored(copy.deepcopy(network).cpu(), entry.low, entry.high).eval()
    height, width = size or (96, 128)
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    names = [SCORE, SHARES][: len(graph(example))]
    free = {INPUT: {0: "batch"} if size else {0: "batch", 1: "height", 2: "width"}} | {n: {0: "batch"} for n in names}
    written = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of a change of exporters to come, and of shapes that the graph keeps as such
        to: Any = written  # this exporter writes into a file of memory, too, which its types do not say
        torch.onnx.export(
            graph,
            (example,),
            to,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes=free,
        )
    model = onnx.load_model_from_string(written.getvalue())
    onnx.helper.set_model_props(model, _metadata(entry, size))
    onnx.checker.check_model(model, full_check=True)
    return write_atomic(path, model.SerializeToString())


def _check(entry: Entry) -> None:
    name = f"model {entry.name!r}"
    if entry.needs_reference:
        raise InputError(f"{name} compares an image with its reference; expected a no-reference network")
    if entry.card.preprocessing.crop:
        raise InputError(f"{name} is shown crops; expected one that is shown whole images (mobile_nr, trcnn)")
    if not (math.isfinite(entry.low) and math.isfinite(entry.high) and entry.low != entry.high):
        raise InputError(f"{name}: scale {entry.scale!r} from {entry.low} to {entry.high}; expected one with two ends")


def _metadata(entry: Entry, size: tuple[int, int] | None) -> dict[str, str]:
    shown = entry.card.preprocessing
    ends = np.linspace(entry.low, entry.high, len(CATEGORIES) + 1)
    categories = [
        {"name": n, "from": a, "to": b} for n, a, b in zip(CATEGORIES, ends.tolist(), ends[1:].tolist(), strict=False)
    ]
    layout = {"layout": "batch, height, width, RGB", "type": "uint8", "size": size}
    return {
        "title": entry.title,
        "architecture": entry.architecture,
        "licence": entry.card.licence,
        "scale": entry.scale,
        "low": json.dumps(entry.low),
        "high": json.dumps(entry.high),
        "categories": json.dumps(categories),
        "preprocessing": json.dumps({"shorter_side": shown.shown_at} | shown.model_dump(exclude_unset=True)),
        "input": json.dumps(layout),
    }


class _Images(CalibrationDataReader):
    """Images one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, images: Sequence[np.ndarray]):
        self.coming: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.coming, None)
        return None if image is None else {INPUT: image[None]}


def quantised(
    source: Path | str, path: Path | str, images: Sequence[np.ndarray], limit: float = LARGEST_DIFFERENCE
) -> Path:
    """Write an ONNX file of `export_onnx` with its convolutions in 8-bit integers: a quarter of the size.

    Weights are rounded channel by channel to whole numbers from -64 to 64, activations by the ranges that the images
    show to 0 to 255. Processors without 8-bit dot products (AVX2) add such products in pairs as 16-bit integers, which
    hold 2 * 255 * 64 but not 2 * 255 * 127: with one bit less of the weights no sum can saturate, and the file gives
    the same score on every processor. What stands before the first convolution (normalisation) and behind the last one
    (pooling, head, softmax) stays in float32: it costs nothing, and squares, roots and votes suffer most.

    It pays in bytes always, in time where the processor multiplies 8-bit integers (VNNI, ARM's dot products), and in
    accuracy never; `evaluation.latency.latency_table` says how much of each.

    Args:
        source: file of `export_onnx`.
        path: file to be written, .onnx.
        images: some tens of the kind that will come, uint8 (H, W, 3), at the size at which the network sees them.
        limit: largest difference from the scores of `source` on these images, as a share of the scale.

    Raises:
        InputError: no images, a file that is not one of `export_onnx`, or scores that differ by more than `limit`;
            nothing is written then.

    Reference: B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", CVPR 2018.
    """
    if not len(images):
        raise InputError(f"{path}: no images; expected some that show the ranges of the activations")
    facts = session(source).get_modelmeta().custom_metadata_map  # refuses what is not ours
    with scratch_folder() as folder:
        prepared, written = folder / "prepared.onnx", folder / "written.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        outside = _outside_convolutions(onnx.load(prepared).graph)
        quantize_static(
            str(prepared),
            str(written),
            _Images(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=outside,
        )
        model = onnx.load(written)
        onnx.helper.set_model_props(model, facts)
        onnx.save(model, written)
        extent = abs(json.loads(facts["high"]) - json.loads(facts["low"]))
        difference = np.abs(run_onnx(written, images) - run_onnx(source, images)).max() / extent
        if difference > limit:
            raise InputError(
                f"{path}: in 8-bit integers scores change by up to {difference:.1%} of the scale on {len(images)} "
                f"images; expected {limit:.1%} or less (keep the float32 file, or give more images)"
            )
        return write_atomic(path, written.read_bytes())


def _outside_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that are not between convolutions, nor directly behind one, as its activation is."""
    of_convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.output}
    after, before = set(of_convolutions), set[str]()
    for node in graph.node:  # in the order of computation
        if after & set(node.input):
            after |= set(node.output)
    for node in reversed(graph.node):
        if node.op_type == "Conv" or before & set(node.output) or of_convolutions & set(node.input):
            before |= {*node.input, *node.output}
    inside = after & before
    return [node.name for node in graph.node if not inside & set(node.output)]


def session(path: Path | str, threads: int = 0) -> onnxruntime.InferenceSession:
    """An ONNX file of `export_onnx`, ready to run on the CPU with so many threads; 0 = as onnxruntime chooses.

    Raises:
        InputError: no such file, or not one of `export_onnx`.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; expected an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised
    try:
        ready = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        facts = ready.get_modelmeta().custom_metadata_map
        inputs = [(given.name, given.type) for given in ready.get_inputs()]
    except Exception as error:  # onnxruntime's errors have no other class in common
        raise InputError(f"{path}: not an ONNX file ({' '.join(str(error).split())[:200]})") from None
    if inputs != [(INPUT, "tensor(uint8)")] or "categories" not in facts:
        raise InputError(f"{path}: inputs {inputs}; expected a file of this package: uint8 images, a scale")
    return ready


def run_onnx(path: Path | str, images: Sequence[np.ndarray]) -> np.ndarray:
    """Scores (n,) of an ONNX file, float64 on the model's own scale, of images uint8 (H, W, 3).

    Images are taken as they are: bring them to the size that the file's metadata names (`Predictor.shown` does).

    Raises:
        InputError: a file that is not one of `export_onnx`, or an image of another type or shape.
    """
    ready, scores = session(path), []
    expected = [side if isinstance(side, int) else None for side in ready.get_inputs()[0].shape[1:]]
    for number, image in enumerate(images):
        fits = image.ndim == 3 and all(e in (None, side) for e, side in zip(expected, image.shape, strict=True))
        if image.dtype != np.uint8 or not fits:
            wanted = ", ".join(str(side or "any") for side in expected)
            raise InputError(f"image {number}: {image.dtype} {image.shape}; expected uint8 ({wanted})")
        scores.append(float(ready.run([SCORE], {INPUT: np.ascontiguousarray(image)[None]})[0][0]))
    return np.array(scores)
