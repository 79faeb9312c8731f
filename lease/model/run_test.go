package model

import (
	"os"
	"strconv"
	"testing"
)

// most bounds how many states a search goes through. The environment variable BERTH_MODEL_STATES sets another bound.
func most(t *testing.T) int {
	t.Helper()
	value := os.Getenv("BERTH_MODEL_STATES")
	if value == "" {
		return mostStates
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		t.Fatalf("BERTH_MODEL_STATES is %q: want a number of states", value)
	}
	return n
}

// holds searches a model for what it promises never happens.
func holds[S comparable](t *testing.T, m Model[S]) {
	t.Helper()
	r := Search(m, most(t))
	if r.Wrong != "" {
		t.Fatal(r)
	}
	t.Logf("%+v: %s", m, r)
}

// finds searches a model that does not hold what it promises.
func finds[S comparable](t *testing.T, m Model[S]) {
	t.Helper()
	r := Search(m, most(t))
	if r.Wrong == "" && raceDetector {
		t.Skipf("the race detector leaves time for %d states only", r.States)
	}
	if r.Wrong == "" {
		t.Fatalf("%+v: nobody would notice: %s", m, r)
	}
	t.Log(r)
}

// breaks searches models that are broken on purpose; each of them has to show it.
func breaks[S comparable](t *testing.T, breaches map[Breach]Model[S]) {
	t.Helper()
	for breach, m := range breaches {
		t.Run(string(breach), func(t *testing.T) { finds(t, m) })
	}
}
