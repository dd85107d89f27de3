"""Where a network looks: attention, perturbation, recorded maps."""
