package agent

import (
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/lease/record"
)

// namedFindings is how many findings a node's status names: the value of a key in etcd is bounded.
const namedFindings = 50

// tellFinding writes one line to the log when a finding begins, changes or ends, and has the node's status written.
func (a *Agent) tellFinding(f findings.Finding, stands bool) {
	fields := []zap.Field{zap.String("kind", f.Kind), zap.String("subject", f.Subject), zap.String("what", f.Text)}
	if stands {
		a.Log.Warn("finding", append(fields, zap.String("advice", f.Advice))...)
	} else {
		a.Log.Info("the finding has ended", fields...)
	}
	a.backlog.signal.Raise()
}

// addFindings puts what stands into the node's status.
func (a *Agent) addFindings(s *record.Status) {
	all := a.findings.List()
	s.Findings, s.FindingsCount = all[:min(len(all), namedFindings)], len(all)
}
