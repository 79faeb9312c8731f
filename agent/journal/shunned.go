package journal

// SetForgot records that another journal has served this boot: what it may have handed out of is to be shunned. It comes
// before anything that would make another process believe that this journal has always been the node's.
func (j *Journal) SetForgot() error { return j.writeOrRemember(&record{Forgot: true}) }

// Forgot reports whether it is still to be shunned.
func (j *Journal) Forgot() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.forgot
}

// SetShunned records all that is shunned from now on, and ends Forgot.
func (j *Journal) SetShunned(all []Shunned) error {
	all = append([]Shunned{}, all...) // not nil, which would be no record
	return j.writeOrRemember(&record{Shunned: &all})
}

// Shunned is all that is, until the next boot.
func (j *Journal) Shunned() []Shunned {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return append([]Shunned(nil), j.state.shunned...)
}
