"""From raw files to batches: readers, decoding, checks, shards, augmentation, loading."""
