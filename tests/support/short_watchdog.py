"""The program with a watchdog that waits for three statement timeouts however short they are, and checks often."""

from exporter import component_options
from exporter.cli import main
from exporter.poller import watchdog

if __name__ == "__main__":
    component_options.STUCK_LEAST_SECONDS = 0.0
    watchdog.CHECK_SECONDS = 0.5
    main(prog_name="tableau-exporter")
