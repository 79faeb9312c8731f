// Package broken takes single guards out of the programs, each by a build tag, so that the tests under faults can show
// that they would find the fault which that guard is there for. No build that anybody uses has a tag of it.
package broken
