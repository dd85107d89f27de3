"""Every figure of the suite, by name: each function takes data and returns a matplotlib Figure.

They are in four files: of ratings, of scores, of confusion, and of attention and pixels.
"""

from iqasuite.report.attention_figures import (
    attention_across_aios,
    attention_comparison,
    attention_layers_heads,
    disagreement_plot,
    image_grid,
    perturbation_plot,
    vote_distributions,
)
from iqasuite.report.confusion_figures import confusion_grid, confusion_map, cross_comparison_map
from iqasuite.report.rating_figures import (
    agreement_plot,
    bias_plot,
    nuisance_plot,
    retest_plot,
    votes_histogram,
    votes_over_mos,
)
from iqasuite.report.score_figures import (
    bias_scatter,
    estimates_plot,
    gains_plot,
    history_plot,
    method_scores,
    observer_scores,
    specificity_plot,
)
from iqasuite.report.style import style

__all__ = [
    "agreement_plot",
    "attention_across_aios",
    "attention_comparison",
    "attention_layers_heads",
    "bias_plot",
    "bias_scatter",
    "confusion_grid",
    "confusion_map",
    "cross_comparison_map",
    "disagreement_plot",
    "gains_plot",
    "estimates_plot",
    "history_plot",
    "image_grid",
    "method_scores",
    "nuisance_plot",
    "observer_scores",
    "perturbation_plot",
    "retest_plot",
    "specificity_plot",
    "style",
    "vote_distributions",
    "votes_histogram",
    "votes_over_mos",
]
