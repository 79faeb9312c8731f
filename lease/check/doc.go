// Package check has the agents of several nodes see together whether their containers reach each other. A tool writes what is to be
// done under a lease of its own, the agents answer under the same lease, and with it all of it ends.
//
// There is one check at a time, in one key that every agent watches. The answers lie below it and are for the tool alone: what the
// agents have to know of each other comes in the tool's second writing, so that no agent gets the others' answers.
package check
