// Package order makes the order of what happens in one instant of a bubble a function of the seed, in a program that was built with
// the tag ordered and the overlay that ./overlay writes:
//
//   - one goroutine runs at a time, until it waits: nothing preempts it, and a system call keeps its processor;
//   - which case a select takes, whether a goroutine that is started runs next or last, and which timer of one instant comes first
//     are drawn from the seed, for each goroutine from numbers of its own;
//   - a map's iteration begins where the seed says, and a context's children are cancelled in the order in which they came;
//   - a mutex's waiters starve by virtual time;
//   - garbage is collected only where every goroutine of the bubble waits.
//
// In any other program it does nothing, and the runtime chooses.
package order
