"""minirun: a minimal, educational and real container runtime.

Almost empty for ever: whatever stands here is paid for at the start of every container.
"""

__version__ = "0.1.0"
