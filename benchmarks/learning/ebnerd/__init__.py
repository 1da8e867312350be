"""Prequential evaluation on a real newspaper's log: the product as it is served, and its peers on the features that it logged."""
