"""From a source of meshes to a prepared data set: splits, shards, workers, report."""
