// Package policy sends each request to the smallest context window that holds it, so that the large ones, which are dear
// and slow, stay free for the requests that need them.
package policy

import (
	_ "embed"

	"wit_component/witgate"
)

// Places of what is subscribed and declared.
const (
	window = iota
	inFlight
	usd
)

const (
	promptTokens = iota
	maxOutputTokens
)

const (
	fits = iota
	tooLong
)

// Settings are checked against the schema beside this file.
type Settings struct {
	// Estimates err: so much more than estimated must fit.
	Margin float64 `json:"margin"`
	// For an answer whose length the client does not limit.
	OutputTokens float64 `json:"output_tokens"`
}

//go:embed settings.schema.json
var schema string

var settings = Settings{Margin: 0.1, OutputTokens: 1000}

var Policy = witgate.Policy{
	Name: "context-fit", Version: "1.0.0", Summary: "The smallest context window that holds the request.",
	SettingsSchema: schema,
	Signals:        []string{"context-tokens", "in-flight", "usd-per-mtok-out"},
	Facts:          []string{"prompt-tokens", "max-output-tokens"},
	Reasons:        []string{"the smallest context window that fits", "the request is longer than every context window"},
	Configure:      func(setup *witgate.Setup) error { return setup.Settings(&settings) },
	Route:          route,
}

func route(decision witgate.Decision) (witgate.Verdict, error) {
	windows, loads, prices := decision.Column(window), decision.Column(inFlight), decision.Column(usd)
	output := decision.Facts[maxOutputTokens]
	if output == 0 {
		output = settings.OutputTokens
	}
	needed := decision.Facts[promptTokens]*(1+settings.Margin) + output

	best := -1
	for row := range decision.Candidates {
		// A window that is not configured is not known to be too small; it comes after those that are known to fit.
		if windows[row] > 0 && windows[row] < needed {
			continue
		}
		if best < 0 || less(windows[row], windows[best], loads[row], loads[best], prices[row], prices[best]) {
			best = row
		}
	}
	if best < 0 {
		return witgate.Reject(witgate.Rejection{Status: 413, Reason: tooLong}), nil
	}
	attempts := []witgate.Attempt{witgate.AtOnce(decision.Candidates[best])}
	return witgate.Follow(witgate.Plan{Attempts: attempts, Reason: fits}), nil
}

// less compares window (0 is the largest), load and price, in this order.
func less(windowA, windowB, loadA, loadB, priceA, priceB float64) bool {
	if windowA != windowB {
		return windowB == 0 || windowA != 0 && windowA < windowB
	}
	if loadA != loadB {
		return loadA < loadB
	}
	return priceA < priceB
}
