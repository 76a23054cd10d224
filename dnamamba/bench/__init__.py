"""Speed and memory on the machine at hand: the scan beside its rivals, training by context, decoding by batch."""
