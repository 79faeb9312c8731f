// Package rundir restores what is removed of the run directory while the agent runs, and reports a settings file that has changed
// since the start.
package rundir
