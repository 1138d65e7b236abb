"""From TFDS shards to batches: source, transforms, loader."""
