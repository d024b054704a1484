"""The program on a host that lets a process open 256 files, 64 of them by default."""

import resource

from exporter.cli import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
    main(prog_name="tableau-exporter")
