"""Exchange directories below a root for links to a canary, and back, until killed (IM34)."""

import os
import sys

root, canary = sys.argv[1:]
while True:
    for directory, directories, _ in os.walk(root):
        for name in directories:
            path = os.path.join(directory, name)
            try:
                os.rename(path, path + ".away")
                os.symlink(canary, path)
                os.unlink(path)
                os.rename(path + ".away", path)
            except OSError:
                pass
