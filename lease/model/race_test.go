//go:build race

package model

// mostStates bounds each search: the race detector makes it ten times as slow, and there is one goroutine.
const mostStates = 100_000
