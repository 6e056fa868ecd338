// Package policy is a routing policy in Go.
package policy

import "wit_component/witgate"

var Policy = witgate.Policy{
	Name: "least-busy-go", Version: "1.0.0", Summary: "Fewest requests in flight; of equals, the cheapest.",
	Signals: []string{"in-flight", "usd-per-mtok-out"},
	Route: func(decision witgate.Decision) (witgate.Verdict, error) {
		inFlight, usd, best := decision.Column(0), decision.Column(1), 0
		for i := range decision.Candidates {
			if inFlight[i] < inFlight[best] || inFlight[i] == inFlight[best] && usd[i] < usd[best] {
				best = i
			}
		}
		return witgate.Pick(decision.Candidates[best]), nil
	},
}
