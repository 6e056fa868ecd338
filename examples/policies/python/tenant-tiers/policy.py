"""Each tenant has a tier, and each tier a way to choose: a table in the settings says which."""

from wit_world.imports import names
from witgate import Lifecycle, Router, at_once, plan, policy, reject  # noqa: F401: the gateway calls the first two

SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tiers", "default"],
    "properties": {
        "tiers": {
            "description": "Tiers by name.",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "prefer": {"enum": ["fastest", "cheapest", "least-busy"], "default": "least-busy"},
                    "max_usd_per_mtok_out": {"description": "Dearer ones are left out.", "type": "number", "minimum": 0},
                },
            },
        },
        "tenants": {"description": "Tier of each tenant.", "type": "object", "additionalProperties": {"type": "string"}},
        "default": {"description": "Tier of everybody else. A key's label `tier` goes before both.", "type": "string"},
    },
}

# What a tier may prefer, by the place of its signal.
PREFER = {"least-busy": 0, "cheapest": 1, "fastest": 2}


class Table:
    """The settings, and the tier of each tenant that has been seen."""

    def __init__(self):
        self.tiers, self.tenants, self.default, self.reasons, self.seen = {}, {}, "", [], {}

    def fill(self, catalogue, settings):
        self.tiers, self.default = settings["tiers"], settings["default"]
        self.tenants = settings.get("tenants", {})
        for who, tier in [*self.tenants.items(), ("default", self.default)]:
            if tier not in self.tiers:
                raise ValueError(f"settings: `{who}` has the tier `{tier}`; there are {', '.join(sorted(self.tiers))}")
        self.reasons = sorted(self.tiers)
        return {"reasons": [f"tier {tier}" for tier in self.reasons]
                + [f"tier {tier}: every deployment is too dear for it" for tier in self.reasons]}

    def tier(self, tenant):
        if tenant not in self.seen:
            labelled = names.tenant_label(tenant, "tier")
            named = self.tenants.get(names.tenant(tenant), self.default)
            self.seen[tenant] = labelled if labelled in self.tiers else named
        return self.seen[tenant]


table = Table()


@policy(version="1.0.0", signals=["in-flight", "usd-per-mtok-out", "ttft-ewma-ms"], facts=["tenant"],
        settings_schema=SETTINGS, configure=table.fill)
def tenant_tiers(decision):
    """Each tenant is served as the table of tiers says."""
    name = table.tier(int(decision.facts[0]))
    tier, reason = table.tiers[name], table.reasons.index(name)
    most = tier.get("max_usd_per_mtok_out", float("inf"))
    affordable = [row for row in decision.rows if row[1] <= most]
    if not affordable:
        return reject(403, reason=reason + len(table.reasons))
    place = PREFER[tier.get("prefer", "least-busy")]
    *_, target = min(affordable, key=lambda row: (row[place], row))
    return plan([at_once(target)], reason=reason)
