"""Breaking things on purpose: `recaster bench faults`, and what the tests of faults use."""
