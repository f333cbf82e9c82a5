"""The self-distillation paper's tables 1 and 2 and figure 2."""
