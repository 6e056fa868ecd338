// Package witgate is what a Witgate policy in Go needs: one value that says what the policy is, decisions with columns,
// and the words of a verdict.
//
// The functions that the gateway calls are in the packages `export_...` beside this one; they call the variable Policy of
// the package policy. An error is declared to the gateway, which counts it under the policy's name and decides by itself,
// and so is a panic; without this package a panic would cost the instance.
package witgate

import (
	"encoding/json"
	"errors"
	"fmt"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	cells "wit_component/witgate_policy_cells"
	"wit_component/witgate_policy_types"
)

// The words of the contract.
type (
	Attempt       = witgate_policy_types.Attempt
	Catalogue     = witgate_policy_types.Catalogue
	Deployment    = witgate_policy_types.Deployment
	FailedAttempt = witgate_policy_types.FailedAttempt
	Plan          = witgate_policy_types.Plan
	Rejection     = witgate_policy_types.Rejection
	Request       = witgate_policy_types.Request
	Verdict       = witgate_policy_types.Verdict
)

// Policy says what a policy is. Everything that is left out is empty.
type Policy struct {
	Name, Version, Summary string
	// JSON Schema of the settings. Without one there are none.
	SettingsSchema string
	// What the hooks are fed, and the texts that verdicts name by their places.
	Signals, Facts, Outcomes, Reasons, Overlays []string
	// Called once in each instance, before any decision. An error refuses the configuration. What it declares with the
	// Setup comes after the lists above.
	Configure func(setup *Setup) error
	// The hooks; each that the policy's world exports must be there.
	Route        func(decision Decision) (Verdict, error)
	AfterFailure func(decision Decision, failed []FailedAttempt) (Verdict, error)
	// The candidates to keep.
	Keep func(decision Decision) ([]uint32, error)
	// A number from 0 to 1 for each candidate.
	Score   func(decision Decision) ([]float64, error)
	Observe func(outcomes Outcomes) error
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

// Lowest gives the candidate with the least value of the subscribed signal at the first of these places; of equals, that
// with the least at the second, and so on; of equals in all of them, the first.
func (decision Decision) Lowest(places ...int) uint32 {
	best := 0
	for row := range decision.Candidates {
		for _, place := range places {
			column := decision.Column(place)
			if column[row] == column[best] {
				continue
			}
			if column[row] < column[best] {
				best = row
			}
			break
		}
	}
	return decision.Candidates[best]
}

// Outcomes say what became of some attempts.
type Outcomes struct {
	// How many there are; never 0.
	Rows    int
	columns []float64
}

// Column gives one value for each outcome, of the subscribed field at this place.
func (outcomes Outcomes) Column(place int) []float64 {
	return outcomes.columns[place*outcomes.Rows:][:outcomes.Rows]
}

// Table holds numbers that all instances of the policy in this gateway share, and that outlive them; 0 at first.
type Table struct{ number uint32 }

// OpenTable opens a table, in Configure: opening the same name again gives the same table.
func OpenTable(name string, width int) (Table, error) {
	opened := cells.Open(name, uint32(width), cells.Scope_Process, cells.Merge_Newest)
	if opened.IsErr() {
		return Table{}, errors.New(opened.Err())
	}
	return Table{opened.Ok()}, nil
}

// Load reads a number.
func (table Table) Load(index uint32) float64 { return cells.Load(table.number, index) }

// LoadEach reads many numbers in one call, in the order of their indexes.
func (table Table) LoadEach(indexes []uint32) []float64 { return cells.LoadEach(table.number, indexes) }

// Store writes a number.
func (table Table) Store(index uint32, value float64) { cells.Store(table.number, index, value) }

// Add adds to a number and gives the new one, in one step.
func (table Table) Add(index uint32, delta float64) float64 {
	return cells.Add(table.number, index, delta)
}

// SwapIf writes a number where the expected one is, in one step, and says whether it did.
func (table Table) SwapIf(index uint32, expected, value float64) bool {
	return cells.SwapIf(table.number, index, expected, value)
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
		Signals: policy.Signals, Facts: policy.Facts, Outcomes: policy.Outcomes, Reasons: setup.reasons,
		Overlays: policy.Overlays,
	})
}

// Router is router.route.
func (policy Policy) Router(
	request Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[Verdict, string] {
	return answer(func() (Verdict, error) { return policy.Route(Decision{request, candidates, facts, signals}) })
}

// Fallback is fallback.after-failure.
func (policy Policy) Fallback(
	request Request, failed []FailedAttempt, candidates []uint32, signals, facts []float64,
) witTypes.Result[Verdict, string] {
	return answer(func() (Verdict, error) {
		return policy.AfterFailure(Decision{request, candidates, facts, signals}, failed)
	})
}

// Filter is filter.keep.
func (policy Policy) Filter(
	request Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[[]uint32, string] {
	return answer(func() ([]uint32, error) { return policy.Keep(Decision{request, candidates, facts, signals}) })
}

// Scorer is scorer.score.
func (policy Policy) Scorer(
	request Request, candidates []uint32, signals, facts []float64,
) witTypes.Result[[]float64, string] {
	return answer(func() ([]float64, error) { return policy.Score(Decision{request, candidates, facts, signals}) })
}

// Observer is observer.observe.
func (policy Policy) Observer(rows uint32, columns []float64) witTypes.Result[witTypes.Unit, string] {
	return answer(func() (witTypes.Unit, error) {
		return witTypes.Unit{}, policy.Observe(Outcomes{int(rows), columns})
	})
}

// answer asks the policy; its error, or a panic, is an error that the gateway is told of.
func answer[T any](ask func() (T, error)) (answer witTypes.Result[T, string]) {
	defer declare(&answer)
	value, err := ask()
	if err != nil {
		return witTypes.Err[T](err.Error())
	}
	return witTypes.Ok[T, string](value)
}

// declare turns a panic into an error.
func declare[T any](answer *witTypes.Result[T, string]) {
	if problem := recover(); problem != nil {
		*answer = witTypes.Err[T](fmt.Sprintf("panic: %v", problem))
	}
}
