// Package kv is the way to etcd: a client that tries again, the incarnation of the store, all keys, codecs for what they hold, fenced
// transactions and watches. It knows nothing of what the records mean.
package kv
