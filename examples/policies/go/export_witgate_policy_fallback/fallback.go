// Package export_witgate_policy_fallback answers the contract's fallback; the generator fixes its name.
package export_witgate_policy_fallback

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
	"wit_component/witgate_policy_types"
)

func AfterFailure(
	request witgate_policy_types.Request, failures []witgate_policy_types.FailedAttempt, candidates []uint32,
	signals, facts []float64,
) witTypes.Result[witgate_policy_types.Verdict, string] {
	return policy.Policy.Fallback(request, failures, candidates, signals, facts)
}
