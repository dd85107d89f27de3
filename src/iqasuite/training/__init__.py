"""One loop; losses, schedule, checkpoints; one recipe a system."""
