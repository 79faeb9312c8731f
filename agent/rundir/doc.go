// Package rundir puts back what somebody has removed of the run directory while the agent runs, and tells of a settings file
// that has changed since the start.
package rundir
