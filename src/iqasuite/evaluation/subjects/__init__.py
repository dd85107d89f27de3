"""What the votes say of the observers: agreement, repetition, ceilings, subject model."""
