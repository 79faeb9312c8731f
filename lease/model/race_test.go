//go:build race

package model

const raceDetector = true

// mostStates bounds each search. There is one goroutine, and the race detector makes it ten times as slow.
const mostStates = 100_000
