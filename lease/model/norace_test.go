//go:build !race

package model

const raceDetector = false

// mostStates bounds each search, so that all of them take about a minute.
const mostStates = 3_000_000
