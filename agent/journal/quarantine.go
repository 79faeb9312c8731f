package journal

// SetLostJournal records that another journal has served this boot: what it may have handed out of is to be shunned. It comes
// before anything that would make another process believe that this journal has always been the node's; so it fails where the
// file does not have it.
func (j *Journal) SetLostJournal() error {
	j.note(&record{LostJournal: true})
	return j.Behind()
}

// LostJournal reports whether it is still to be shunned.
func (j *Journal) LostJournal() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.lostJournal
}

// SetQuarantined notes all that is shunned from now on, and ends LostJournal.
func (j *Journal) SetQuarantined(all []Quarantined) {
	all = append([]Quarantined{}, all...) // not nil, which would be no record
	j.note(&record{Quarantined: &all})
}

// Quarantined is all that is, until the next boot.
func (j *Journal) Quarantined() []Quarantined {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return append([]Quarantined(nil), j.state.quarantined...)
}
