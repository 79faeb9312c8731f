// Package rollout is how far the configuration has come: what nodes publish of their containers, and the version of a set of them.
package rollout
