"""Many shapes at a time: an ordered map over threads, evaluations shared by shapes."""
