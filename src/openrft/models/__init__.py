"""Base models: find and load them, attach LoRA, compute logits, save checkpoints, export what was trained."""
