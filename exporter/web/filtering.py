"""The parameters of ``/metrics`` that choose collectors, with the meaning that node_exporter gives them."""

from collections.abc import Collection, Mapping, Sequence

from exporter.web.parameters import WrongParameter, quoted

COLLECT, EXCLUDE = "collect[]", "exclude[]"


def chosen_collectors(
    collected: Sequence[str], excluded: Sequence[str], collectors: Mapping[str, bool]
) -> Collection[str]:
    """Return the names of the collectors that are asked for; ``collectors`` maps each to whether it is enabled.

    Raises WrongParameter where both parameters are given, and for a collector to collect that is unknown or disabled.
    Excluding such a collector changes nothing.
    """
    if collected and excluded:
        raise WrongParameter(f"{COLLECT} and {EXCLUDE} cannot be combined; give one of the two.")
    enabled = {name for name, is_enabled in collectors.items() if is_enabled}
    if excluded:
        return enabled.difference(excluded)
    for name in collected:
        if name not in collectors:
            raise WrongParameter(f"There is no collector {quoted(name)}; there are {', '.join(sorted(collectors))}.")
        if name not in enabled:
            raise WrongParameter(f"The collector {name} is disabled.")
    return set(collected)
