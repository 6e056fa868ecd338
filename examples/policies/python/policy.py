"""A routing policy in Python."""

from witgate import Lifecycle, Router, policy  # noqa: F401: the gateway calls these two


@policy(version="1.0.0", signals=["in-flight", "usd-per-mtok-out"])
def least_busy_python(decision):
    """Fewest requests in flight; of equals, the cheapest."""
    in_flight, usd, target = min(decision.rows)
    return target
