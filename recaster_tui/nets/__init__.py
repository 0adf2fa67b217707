"""The networks as plain torch modules (dfl-models.md 1, 3.4, 3.8, 4.2, 6.2); imports torch only.

Quirks of the original that live here, all kept unless said: even kernels padded on both sides (17),
even structure windows and zero-padded blurs (18), Glorot start values (19), total variation over
channel and height in AMP (3). Enforced instead of kept: a resolution that the -t architectures and
the discriminator's patch plan can divide (5, 6).
"""
