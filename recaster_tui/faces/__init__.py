"""Aligned faces and sets of them: DFL's files, geometry, pose, masks (DESIGN section 2)."""
