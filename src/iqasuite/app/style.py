"""Style sheet and theme of the page: the system's fonts, colours of `report.figures.style`, nothing from elsewhere."""

from __future__ import annotations

from iqasuite.report.figures.style import BLUE, ORANGE, SKY, VERMILLION

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

CSS = f"""
.gradio-container {{ --iqa-fill: {BLUE}; --iqa-mark: {VERMILLION}; --iqa-soft: #56606e;
  width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }}
.dark .gradio-container, .gradio-container.dark {{ --iqa-fill: {SKY}; --iqa-mark: {ORANGE};
  --iqa-soft: #aab3c0; }}
.iqa-head h1 {{ font-size: 1.5rem; margin: 0.2rem 0 0.3rem; }}
.iqa-head p {{ max-width: 75ch; color: var(--iqa-soft); margin: 0; }}
.iqa-note {{ color: var(--iqa-soft); margin: 0.3rem 0; }}
.iqa-error {{ border-left: 4px solid var(--iqa-mark); padding: 0.5rem 0.8rem; margin: 0.3rem 0; font-weight: 600;
  background: var(--background-fill-secondary); overflow-wrap: anywhere; }}
.iqa-about {{ font-size: 0.85rem; margin: 0; display: grid; grid-template-columns: max-content 1fr;
  gap: 0.15rem 0.6rem; }}
.iqa-about dt {{ color: var(--iqa-soft); }}
.iqa-about dd {{ margin: 0; overflow-wrap: anywhere; }}
.iqa-score {{ display: flex; flex-direction: column; margin-bottom: 0.3rem; }}
.iqa-score > b {{ font-size: 2.4rem; line-height: 1.15; font-variant-numeric: tabular-nums; }}
.iqa-badge {{ border: 1px solid var(--iqa-mark); border-radius: 999px; padding: 0 0.5em; font-size: 0.8em; }}
.iqa-panel {{ margin-top: 1rem; }}
.iqa-panel h3, .iqa-two h3 {{ font-size: 1rem; margin: 0 0 0.3rem; }}
.iqa-svg {{ display: block; width: 100%; max-width: 480px; height: auto; }}
.iqa-svg text {{ font-size: 12px; fill: var(--body-text-color); font-family: inherit; }}
.iqa-svg .iqa-soft {{ fill: var(--iqa-soft); }}
.iqa-svg .iqa-small {{ font-size: 10px; }}
.iqa-svg .iqa-strong {{ font-weight: 700; }}
.iqa-fill {{ fill: var(--iqa-fill); }}
.iqa-faint {{ fill: var(--iqa-fill); opacity: 0.22; }}
.iqa-likely {{ fill: var(--iqa-fill); opacity: 0.45; }}
.iqa-mark {{ fill: var(--iqa-mark); }}
.iqa-grid {{ stroke: var(--border-color-primary); stroke-width: 1; }}
.iqa-spread {{ stroke: var(--iqa-mark); stroke-width: 2; }}
.iqa-mean {{ stroke: var(--body-text-color); stroke-width: 1.5; stroke-dasharray: 4 3; }}
.iqa-rating {{ width: 100%; height: max(30rem, calc(100vh - 17rem)); border: 0; background: #808080; }}
.iqa-figure {{ margin: 0; }}
.iqa-laid {{ position: relative; width: 100%; overflow: hidden; border-radius: 4px; }}
.iqa-laid img {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; max-width: none; }}
.iqa-over {{ opacity: var(--laid, 0.5); }}
.iqa-shared {{ background: var(--picture) center / 100% 100%; }}
.iqa-bar {{ display: flex; flex-wrap: wrap; align-items: center; gap: 0.2rem 0.5rem; margin-top: 0.4rem;
  font-size: 0.85rem; }}
.iqa-bar i {{ flex: 0 1 200px; min-width: 120px; height: 10px; border-radius: 2px; }}
.iqa-bar em {{ font-style: normal; color: var(--iqa-soft); }}
.iqa-many {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 0.7rem; }}
.iqa-many figure {{ margin: 0; }}
.iqa-many figcaption {{ font-size: 0.85rem; text-align: center; }}
.iqa-opacity {{ display: none !important; }}
.tabitem:has(.iqa-over) .iqa-opacity {{ display: flex !important; }}
.iqa-two {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 1.2rem; }}
.iqa-difference {{ font-size: 1.1rem; margin: 0.2rem 0 0.8rem; }}
.iqa-table {{ overflow-x: auto; }}
.iqa-table table {{ border-collapse: collapse; width: 100%; font-size: 0.9rem; }}
.iqa-table table, .iqa-table tr {{ border: 0 !important; }}
.iqa-table th, .iqa-table td {{ text-align: left; padding: 0.3rem 0.6rem; vertical-align: top; border: 0 !important;
  box-shadow: 0 1px 0 var(--border-color-primary); }}
.iqa-table td {{ overflow-wrap: break-word; word-break: normal; }}
.iqa-table td:first-child {{ min-width: 8rem; max-width: 22rem; }}
.iqa-table .iqa-number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.iqa-download {{ display: inline-block; margin-top: 0.8rem; padding: 0.4rem 0.9rem; border-radius: 4px;
  border: 1px solid var(--iqa-fill); font-weight: 600; text-decoration: none; color: var(--body-text-color); }}
"""
