// Package record has the records that the keys hold, and says what makes each of them valid: anybody who may write to etcd can have
// written it.
package record
