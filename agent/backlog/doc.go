// Package backlog holds the stateless addresses whose assignment in etcd may differ from the journal.
package backlog
