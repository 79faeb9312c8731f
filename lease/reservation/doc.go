// Package reservation is whose a stateful address is and who holds it: reserve, detach, end, assert.
package reservation
