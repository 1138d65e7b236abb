"""The fields of config.model, one file per system."""
