// Package policy is a routing policy in Go.
package policy

import "wit_component/witgate"

var Policy = witgate.Policy{
	Name: "least-busy-go", Version: "1.0.0", Summary: "Fewest in flight; then no pause, fewest errors, cheapest.",
	Signals: []string{"in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out"},
	Route: func(decision witgate.Decision) (witgate.Verdict, error) {
		return witgate.Pick(decision.Lowest(0, 1, 2, 3)), nil
	},
}
