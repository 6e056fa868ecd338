// Package witgate is what a Witgate policy in Go needs: one value that says what the policy is, decisions with columns,
// and the words of a verdict.
//
// The functions that the gateway calls are in the two packages beside this one; they call the variable Policy of the
// package policy. An error is declared to the gateway, which counts it under the policy's name and decides by itself,
// and so is a panic; without this package a panic would cost the instance.
package witgate

import (
	"encoding/json"
	"fmt"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/witgate_policy_types"
)

// The words of the contract.
type (
	Attempt    = witgate_policy_types.Attempt
	Catalogue  = witgate_policy_types.Catalogue
	Deployment = witgate_policy_types.Deployment
	Plan       = witgate_policy_types.Plan
	Rejection  = witgate_policy_types.Rejection
	Request    = witgate_policy_types.Request
	Verdict    = witgate_policy_types.Verdict
)

// Policy says what a policy is. Everything that is left out is empty.
type Policy struct {
	Name, Version, Summary string
	// JSON Schema of the settings. Without one there are none.
	SettingsSchema string
	// What Route is fed, and the texts that its verdicts name by their places.
	Signals, Facts, Reasons, Overlays []string
	// Called once in each instance, before any decision. An error refuses the configuration. What it declares with the
	// Setup comes after the lists above.
	Configure func(setup *Setup) error
	Route     func(decision Decision) (Verdict, error)
}

// Setup is what a policy is told once.
type Setup struct {
	Catalogue
	reasons []string
}

// Settings reads the policy's settings, which fit its schema, into a value.
func (setup *Setup) Settings(into any) error {
	return json.Unmarshal([]byte(setup.Catalogue.Settings), into)
}

// Reason declares a text for plans and rejections.
func (setup *Setup) Reason(text string) uint32 {
	setup.reasons = append(setup.reasons, text)
	return uint32(len(setup.reasons) - 1)
}

// Decision is what a policy decides on.
type Decision struct {
	Request Request
	// Numbers of the deployments that may be used; never empty.
	Candidates []uint32
	// In the order of the subscription.
	Facts   []float64
	signals []float64
}

// Column gives one value for each candidate, of the subscribed signal at this place.
func (decision Decision) Column(place int) []float64 {
	count := len(decision.Candidates)
	return decision.signals[place*count:][:count]
}

// Pick sends the request to this deployment.
func Pick(target uint32) Verdict { return witgate_policy_types.MakeVerdictPick(target) }

// Follow carries out a plan.
func Follow(plan Plan) Verdict { return witgate_policy_types.MakeVerdictFollow(plan) }

// Reject answers the client with an error.
func Reject(rejection Rejection) Verdict { return witgate_policy_types.MakeVerdictReject(rejection) }

// Abstain leaves it to the next policy of the chain.
func Abstain() Verdict { return witgate_policy_types.MakeVerdictAbstain() }

// AtOnce tries a deployment when the plan starts.
func AtOnce(target uint32) Attempt {
	return Attempt{Target: target, Start: witgate_policy_types.StartRule_AtOnce, Overlay: witTypes.None[uint32]()}
}

// OnFailure tries a deployment when the attempt before it has failed.
func OnFailure(target uint32) Attempt {
	return Attempt{Target: target, Start: witgate_policy_types.StartRule_OnFailure, Overlay: witTypes.None[uint32]()}
}

// Hedge tries a deployment when the attempt before it has been silent for so long, or has failed.
func Hedge(target uint32, delayMs float64) Attempt {
	return Attempt{
		Target: target, Start: witgate_policy_types.StartRule_Hedge, DelayMs: delayMs, Overlay: witTypes.None[uint32](),
	}
}

// Describe is lifecycle.describe.
func (policy Policy) Describe() witgate_policy_types.PolicyInfo {
	schema := policy.SettingsSchema
	if schema == "" {
		schema = `{"type":"object","properties":{},"additionalProperties":false}`
	}
	return witgate_policy_types.PolicyInfo{
		Name: policy.Name, Version: policy.Version, Summary: policy.Summary, SettingsSchema: schema,
	}
}

// Subscribe is lifecycle.configure.
func (policy Policy) Subscribe(
	catalogue Catalogue,
) (answer witTypes.Result[witgate_policy_types.Subscription, string]) {
	defer declare(&answer)
	setup := Setup{Catalogue: catalogue, reasons: policy.Reasons}
	if policy.Configure != nil {
		if err := policy.Configure(&setup); err != nil {
			return witTypes.Err[witgate_policy_types.Subscription](err.Error())
		}
	}
	return witTypes.Ok[witgate_policy_types.Subscription, string](witgate_policy_types.Subscription{
		Signals: policy.Signals, Facts: policy.Facts, Reasons: setup.reasons, Overlays: policy.Overlays,
	})
}

// Decide is router.route.
func (policy Policy) Decide(
	request Request, candidates []uint32, signals, facts []float64,
) (answer witTypes.Result[Verdict, string]) {
	defer declare(&answer)
	verdict, err := policy.Route(Decision{request, candidates, facts, signals})
	if err != nil {
		return witTypes.Err[Verdict](err.Error())
	}
	return witTypes.Ok[Verdict, string](verdict)
}

// declare turns a panic into an error that the gateway is told of.
func declare[T any](answer *witTypes.Result[T, string]) {
	if problem := recover(); problem != nil {
		*answer = witTypes.Err[T](fmt.Sprintf("panic: %v", problem))
	}
}
