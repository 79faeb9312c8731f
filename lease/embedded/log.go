package embedded

import (
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// expected keeps out of the log what etcd says of a data directory that it has just made: it looks for the version of
// the layout before it has written the term that it needs for that, and looks again four seconds later.
type expected struct{ zapcore.Core }

func withoutExpected(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return expected{c} }))
}

func (c expected) With(fields []zapcore.Field) zapcore.Core { return expected{c.Core.With(fields)} }

func (c expected) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c expected) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok && strings.Contains(err.Error(), "missing term information") {
			return nil
		}
	}
	return c.Core.Write(entry, fields)
}
