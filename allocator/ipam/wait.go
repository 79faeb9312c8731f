package ipam

import "time"

// WaitOut is how long somebody waits for another's right to have run out for certain: a tenth longer than it lasts, since two
// clocks never go at quite the same speed.
func WaitOut(right time.Duration) time.Duration { return right + right/10 }
