"""One published system per file, and the registry that names them."""
