"""What a Witgate policy in Python needs: a decorator, rows of signals, and the words of a verdict.

A function under `@policy` gets one decision and returns a deployment's number (pick it), `None` (no opinion) or a
verdict made by `plan` or `reject`. An exception that it raises, or an answer that is none of these, is *declared* to the
gateway, which counts it under the policy's name and decides by itself; without the decorator it would cost the instance.

The other hooks are functions under `@also("keep")` and so on. The gateway calls the classes at the end of this file; a
policy imports those that its world exports.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (  # noqa: F401: the words of a verdict, for policies to import from here
    Attempt, Catalogue, Deployment, FailedAttempt, Plan, PolicyInfo, Rejection, Request, StartRule, Subscription, Verdict,
    Verdict_Abstain, Verdict_Follow, Verdict_Pick, Verdict_Reject,
)

# The interface that calls each hook.
EXPORTS = {"route": "Router", "keep": "Filter", "score": "Scorer", "after_failure": "Fallback", "observe": "Observer"}
NO_SETTINGS = {"type": "object", "properties": {}, "additionalProperties": False}


class Decision(NamedTuple):
    """What a policy decides on."""

    request: Request
    candidates: list[int]  # numbers of the deployments that may be used; never empty
    signals: list[float]   # column after column, in the order of the subscription
    facts: list[float]     # in the order of the subscription
    failures: Sequence[FailedAttempt] = ()  # of this request, oldest first; only for `after_failure`

    @property
    def rows(self) -> Iterator[tuple]:
        """For each candidate a tuple of its signals, and its number last."""
        n = len(self.candidates)
        return zip(*(self.signals[k:k + n] for k in range(0, len(self.signals), n)), self.candidates)

    def column(self, place: int) -> list[float]:
        """One value for each candidate, of the subscribed signal at this place."""
        n = len(self.candidates)
        return self.signals[place * n:(place + 1) * n]


class Outcomes(NamedTuple):
    """What became of attempts."""

    count: int
    columns: list[float]  # column after column, in the order of the subscription

    @property
    def rows(self) -> Iterator[tuple]:
        """For each attempt a tuple of the outcome fields."""
        n = self.count
        return zip(*(self.columns[k:k + n] for k in range(0, len(self.columns), n)))


Hook = Callable[[Any], Any]
Configure = Callable[[Catalogue, dict[str, Any]], Mapping[str, list[str]] | None]


def policy(version: str, signals: Sequence[str] = (), facts: Sequence[str] = (), outcomes: Sequence[str] = (),
           reasons: Sequence[str] = (), overlays: Sequence[str] = (),
           settings_schema: Mapping[str, Any] | str = NO_SETTINGS, configure: Configure | None = None,
           hook: str = "route") -> Callable[[Hook], Hook]:
    """Makes the function below it the policy: its name and its docstring are what the gateway shows.

    `configure(catalogue, settings)`, if given, is called once in each instance, before any decision; to raise refuses
    the configuration. What it returns, for example `{"reasons": [...]}`, takes the place of the lists given here.
    The function answers the hook `route`, or another one: see `also`.
    """
    schema = settings_schema if isinstance(settings_schema, str) else json.dumps(settings_schema)

    def register(function: Hook) -> Hook:
        name = function.__name__.replace("_", "-")
        _policy.update(
            info=PolicyInfo(name, version, (function.__doc__ or "").strip(), schema), configure=configure,
            lists={"signals": list(signals), "facts": list(facts), "outcomes": list(outcomes), "reasons": list(reasons),
                   "overlays": list(overlays)},
        )
        return also(hook)(function)
    return register


def also(hook: str) -> Callable[[Hook], Hook]:
    """Makes the function below it answer one more hook.

    `keep` gets a decision and returns the candidates to keep; `score` one number from 0 to 1 for each candidate;
    `after_failure` what `route` may, with `decision.failures`; `observe` gets outcomes and returns nothing.
    """
    if hook not in EXPORTS:
        raise ValueError(f"there is no hook `{hook}`; there are {', '.join(EXPORTS)}")
    if not hasattr(exports, EXPORTS[hook]):
        raise ValueError(f"`{hook}` would never be called: the world in wit/world.wit does not export "
                         f"`{EXPORTS[hook].lower()}`")

    def register(function: Hook) -> Hook:
        _hooks[hook] = function
        return function
    return register


def at_once(target: int, timeout_ms: float = 0.0, overlay: int | None = None) -> Attempt:
    """A try when the plan starts."""
    return Attempt(target, StartRule.AT_ONCE, 0.0, float(timeout_ms), overlay)


def on_failure(target: int, delay_ms: float = 0.0, timeout_ms: float = 0.0, overlay: int | None = None) -> Attempt:
    """A try when the one before it has failed."""
    return Attempt(target, StartRule.ON_FAILURE, float(delay_ms), float(timeout_ms), overlay)


def hedge(target: int, delay_ms: float, timeout_ms: float = 0.0, overlay: int | None = None) -> Attempt:
    """A try when the one before it has been silent for so long, or has failed."""
    return Attempt(target, StartRule.HEDGE, float(delay_ms), float(timeout_ms), overlay)


def plan(attempts: Sequence[Attempt], reason: int = 0, tag: int = 0) -> Verdict:
    """Carry out these tries, in order."""
    return Verdict_Follow(Plan(list(attempts), reason, tag))


def reject(status: int, retry_after_ms: float = 0.0, reason: int = 0) -> Verdict:
    """Answer the client with an error."""
    return Verdict_Reject(Rejection(status, float(retry_after_ms), reason))


class Lifecycle(exports.Lifecycle):
    def __init__(self):
        # Runs when the file is built, so that what is missing is told then and not by the first request.
        for hook, export in EXPORTS.items():
            if hasattr(exports, export) and hook not in _hooks:
                raise TypeError(f"the world exports `{export.lower()}`, so a function is needed under "
                                f"`@also(\"{hook}\")`")

    def describe(self) -> PolicyInfo:
        return _policy["info"]

    def configure(self, catalogue: Catalogue) -> Subscription:
        with _refused:
            own = _policy["configure"] and _policy["configure"](catalogue, json.loads(catalogue.settings))
            return Subscription(**_policy["lists"] | (own or {}))


# A world has only the interfaces that it exports.
if hasattr(exports, "Router"):
    class Router(exports.Router):
        def route(self, request: Request, candidates: list[int], signals: list[float], facts: list[float]) -> Verdict:
            with _declared:
                return _verdict(_hooks["route"](Decision(request, candidates, signals, facts)))

if hasattr(exports, "Fallback"):
    class Fallback(exports.Fallback):
        def after_failure(self, request: Request, failures: list[FailedAttempt], candidates: list[int],
                          signals: list[float], facts: list[float]) -> Verdict:
            with _declared:
                decision = Decision(request, candidates, signals, facts, failures)
                return _verdict(_hooks["after_failure"](decision))

if hasattr(exports, "Filter"):
    class Filter(exports.Filter):
        def keep(self, request: Request, candidates: list[int], signals: list[float], facts: list[float]) -> list[int]:
            with _declared:
                return list(_hooks["keep"](Decision(request, candidates, signals, facts)))

if hasattr(exports, "Scorer"):
    class Scorer(exports.Scorer):
        def score(self, request: Request, candidates: list[int], signals: list[float],
                  facts: list[float]) -> list[float]:
            with _declared:
                return list(_hooks["score"](Decision(request, candidates, signals, facts)))

if hasattr(exports, "Observer"):
    class Observer(exports.Observer):
        def observe(self, rows: int, columns: list[float]) -> None:
            with _declared:
                _hooks["observe"](Outcomes(rows, columns))


def _verdict(choice: Any) -> Verdict:
    if type(choice) is int and 0 <= choice < 1 << 31:
        return Verdict_Pick(choice)
    if choice is None:
        return Verdict_Abstain()
    if isinstance(choice, (Verdict_Follow, Verdict_Reject, Verdict_Pick, Verdict_Abstain)):
        return choice
    raise TypeError(f"the policy returned {choice!r}, which is neither a candidate, nor None, nor a verdict")


class _Declared:
    """Turns an exception into an error that the gateway is told of. Also `SystemExit`: there is nothing to leave.

    It says where it was raised, unless it is of the kind that is raised on purpose, with a text for the operator.
    """

    def __init__(self, purposely: tuple[type[BaseException], ...] = ()):
        self.purposely = purposely

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if error is not None and not isinstance(error, Err):
            place = "" if isinstance(error, self.purposely) else _place(trace)
            raise Err(f"{kind.__name__}: {error}{place}") from error


def _place(trace: Any) -> str:
    """The last line of the policy's own that was reached. Its folders are `/0`, `/1` and so on where it runs."""
    place = ""
    while trace is not None:
        _, _, path = trace.tb_frame.f_code.co_filename.partition("/")
        folder, _, file = path.partition("/")
        if folder.isdigit() and file != "witgate.py":
            place = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


_declared = _Declared()
_refused = _Declared(purposely=(ValueError,))
_policy: dict[str, Any] = {}
_hooks: dict[str, Hook] = {}
