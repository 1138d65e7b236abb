"""Experimental: interval bounds on a field, and meshes that provably miss nothing."""
