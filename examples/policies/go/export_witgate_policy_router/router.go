// Package export_witgate_policy_router answers the contract's router; the generator fixes its name.
package export_witgate_policy_router

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
	"wit_component/witgate_policy_types"
)

func Route(
	request witgate_policy_types.Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[witgate_policy_types.Verdict, string] {
	return policy.Policy.Router(request, candidates, signals, facts)
}
