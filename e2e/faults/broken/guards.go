package broken

// In epoch a detachment does not compare the epoch.
var epoch = Build{Name: "broken_epoch", Changes: []Change{{
	File: "lease/reservation/detach.go",
	Old:  " && r.Identity == d.Identity && r.Holder.Attachment == d.Attachment && r.Epoch == d.Epoch",
	New:  " && r.Identity == d.Identity",
}}}

// In journal the journal learns of an attachment after the answer has left.
var journal = Build{Name: "broken_journal", Changes: []Change{
	importing("agent/attach/commit.go", "time"),
	{
		File: "agent/attach/commit.go",
		Old: `	if err := a.Journal.Change(&answered); err != nil {
		return wire.Errorf(wire.CodeTryAgain, "%w", err)
	}
`,
		New: `	time.AfterFunc(300*time.Millisecond, func() { _ = a.Journal.Hold(&answered) })
`,
	},
}}

// In wait what an absent node holds is taken without waiting for its right to run out.
var wait = Build{Name: "broken_wait", Changes: []Change{
	{File: "agent/node/absence.go", Old: "left, left <= 0\n", New: "left, true\n"},
	{File: "lease/reservation/member.go", Old: "	case r.nobody, ", New: "	case true, r.nobody, "},
}}
