package journal

// SetForgot records that another journal has served this boot: what it may have handed out of is to be shunned. It comes
// before anything that would make another process believe that this journal has always been the node's; so it fails where the
// file does not have it.
func (j *Journal) SetForgot() error {
	j.note(&record{Forgot: true})
	return j.Behind()
}

// Forgot reports whether it is still to be shunned.
func (j *Journal) Forgot() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.forgot
}

// SetShunned notes all that is shunned from now on, and ends Forgot.
func (j *Journal) SetShunned(all []Shunned) {
	all = append([]Shunned{}, all...) // not nil, which would be no record
	j.note(&record{Shunned: &all})
}

// Shunned is all that is, until the next boot.
func (j *Journal) Shunned() []Shunned {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return append([]Shunned(nil), j.state.shunned...)
}
