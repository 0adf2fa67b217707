"""Room: see DESIGN section 2."""
