package journal

// SetLostJournal records that another journal has served this boot, so that the blocks that it may have allocated from are to be
// put in quarantine. It must be on the file before any change by which another process would take this journal for the boot's
// only one; it fails where it is not.
func (j *Journal) SetLostJournal() error {
	j.note(&record{LostJournal: true})
	return j.Behind()
}

// LostJournal reports whether those blocks are still to be put in quarantine.
func (j *Journal) LostJournal() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.lostJournal
}

// SetQuarantined notes all that is in quarantine, and ends LostJournal.
func (j *Journal) SetQuarantined(all []Quarantined) {
	all = append([]Quarantined{}, all...) // not nil, which would be no record
	j.note(&record{Quarantined: &all})
}

// Quarantined is all that is in quarantine until the next boot.
func (j *Journal) Quarantined() []Quarantined {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return append([]Quarantined(nil), j.state.quarantined...)
}
