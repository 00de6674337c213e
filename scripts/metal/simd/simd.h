// naga's kernels include it, and use nothing of it.
