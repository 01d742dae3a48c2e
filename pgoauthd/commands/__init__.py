"""What the commands of the command line do, but for `run` and `demo`; `cli` declares them."""
