// Package report answers requests about this node and what it holds: CNI STATUS and /readyz, the version of a set of
// containers, node reports for an operator's tool, and the gauges.
package report
