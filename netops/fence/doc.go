// Package fence decides in nftables which ports' traffic passes: tables of families bridge and inet with a set of ports for each
// traffic class, whose rules drop every frame from or to a port that is in none; sets of what the ports of classes may send, by
// their MACs and addresses; strict mode, in which the kernel itself closes a class when its timer runs out; and a table of family ip
// or ip6 for the pools that masquerade.
//
// In strict mode each class has two slots. A slot is a timer, an element that the kernel removes when its time is over, and a
// lock, an element that only Open adds; frames of the class pass while a slot has both. Arm starts the timer of the slot that
// is not in use before a proof is sent, and Open adds its lock when the proof's answer has come: so a class closes no later
// than its right ends, whatever happens to this process in between.
package fence
