"""``python -m minirun`` is the same program as ``minirun``."""

from minirun.engine.cli import main

if __name__ == "__main__":
    main()
