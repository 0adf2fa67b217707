"""Synthetic heads: a ready workspace to try everything on, without any real person's face.

The head mesh, its identities and its expressions are CC0 (MakeHuman, MPFB2, Mika Suominen's
face units); everything seen in the pictures is computed here with numpy and OpenCV.

``make_demo(folder, *, seed=1, faces=300, video_seconds=20.0, size=256, workers=None,
progress=None)`` makes (or completes, or merely opens) the demo workspace.
"""

from recaster_tui.demo.workspace import DemoProgress, is_demo, make_demo

__all__ = ["DemoProgress", "is_demo", "make_demo"]
