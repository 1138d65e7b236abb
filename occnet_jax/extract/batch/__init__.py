"""Many shapes at a time: work in order over threads, evaluations shared by shapes."""
