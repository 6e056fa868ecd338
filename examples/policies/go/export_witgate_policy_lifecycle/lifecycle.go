// Package export_witgate_policy_lifecycle answers the contract's lifecycle; the generator fixes its name.
package export_witgate_policy_lifecycle

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
	"wit_component/witgate_policy_types"
)

func Describe() witgate_policy_types.PolicyInfo {
	return policy.Policy.Describe()
}

func Configure(
	catalogue witgate_policy_types.Catalogue,
) witTypes.Result[witgate_policy_types.Subscription, string] {
	return policy.Policy.Subscribe(catalogue)
}
