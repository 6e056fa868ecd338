// Package export_witgate_policy_scorer answers the contract's scorer; the generator fixes its name.
package export_witgate_policy_scorer

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
	"wit_component/witgate_policy_types"
)

func Score(
	request witgate_policy_types.Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[[]float64, string] {
	return policy.Policy.Scorer(request, candidates, signals, facts)
}
