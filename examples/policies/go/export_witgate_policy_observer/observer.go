// Package export_witgate_policy_observer answers the contract's observer; the generator fixes its name.
package export_witgate_policy_observer

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/policy"
)

func Observe(rows uint32, columns []float64) witTypes.Result[witTypes.Unit, string] {
	return policy.Policy.Observer(rows, columns)
}
