"""What a Witgate policy in Python needs: a decorator, rows of signals, and the words of a verdict.

A function under `@policy` gets one decision and returns a deployment's number (pick it), `None` (no opinion) or a
`Verdict_...`. An exception that it raises is *declared* to the gateway, which counts it under the policy's name and
decides by itself; without the decorator it would cost the instance.
"""

import json
from typing import NamedTuple

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (  # noqa: F401: the words of a verdict, for policies to import from here
    Attempt, Catalogue, Plan, PolicyInfo, Rejection, Request, StartRule, Subscription, Verdict, Verdict_Abstain,
    Verdict_Follow, Verdict_Pick, Verdict_Reject,
)


class Decision(NamedTuple):
    """What a policy decides on."""

    request: Request
    candidates: list[int]  # numbers of the deployments that may be used; never empty
    signals: list[float]   # column after column, in the order of the subscription
    facts: list[float]     # in the order of the subscription

    @property
    def rows(self):
        """For each candidate a tuple of its signals, and its number last."""
        n = len(self.candidates)
        return zip(*(self.signals[k:k + n] for k in range(0, len(self.signals), n)), self.candidates)


def policy(version, signals=(), facts=(), reasons=(), overlays=(), settings_schema="{}", configure=None):
    """Makes the function below it the policy: its name and its docstring are what the gateway shows.

    `configure(catalogue, settings)`, if given, is called once in each instance, before any decision.
    """
    def register(route):
        name = route.__name__.replace("_", "-")
        _policy.update(
            info=PolicyInfo(name, version, (route.__doc__ or "").strip(), settings_schema),
            subscription=Subscription(list(signals), list(facts), [], list(reasons), list(overlays)),
            route=route, configure=configure,
        )
        return route
    return register


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return _policy["info"]

    def configure(self, catalogue):
        with _declared:
            if _policy["configure"]:
                _policy["configure"](catalogue, json.loads(catalogue.settings))
            return _policy["subscription"]


class Router(exports.Router):
    def route(self, request, candidates, signals, facts):
        with _declared:
            choice = _policy["route"](Decision(request, candidates, signals, facts))
            if type(choice) is int:
                return Verdict_Pick(choice)
            return Verdict_Abstain() if choice is None else choice


class _Declared:
    """Turns an exception into an error that the gateway is told of."""

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, Err):
            raise Err(f"{kind.__name__}: {error}") from error


_declared = _Declared()
_policy = {}
