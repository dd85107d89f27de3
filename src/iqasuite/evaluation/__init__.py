"""How good predictions are: metrics, bootstrap, baselines, benchmark tables."""
