"""``python -m exporter`` is ``tableau-exporter``."""

from exporter.cli import main

if __name__ == "__main__":
    main(prog_name="tableau-exporter")
