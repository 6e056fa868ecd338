// Package export_witgate_policy_filter answers the contract's filter; the generator fixes its name.
package export_witgate_policy_filter

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
	"wit_component/witgate_policy_types"
)

func Keep(
	request witgate_policy_types.Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[[]uint32, string] {
	return policy.Policy.Filter(request, candidates, signals, facts)
}
