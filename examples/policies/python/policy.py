"""A routing policy in Python."""

from witgate import Lifecycle, Router, policy  # noqa: F401: the gateway calls these two


@policy(version="1.0.0", signals=["in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out"])
def least_busy_python(decision):
    """Fewest in flight; then no pause, fewest errors, cheapest."""
    in_flight, cooldown, errors, usd, target = min(decision.rows)
    return target
