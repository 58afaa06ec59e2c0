"""The training step: batches as prefix trees, attention, the fused forward and backward pass, the loss."""
