"""Masks by networks: the automatic mask, XSeg applied to faces, and training of the former."""
