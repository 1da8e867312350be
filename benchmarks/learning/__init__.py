"""How well the product learns, on data that its authors did not write."""
