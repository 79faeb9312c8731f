package kv

import (
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Txn is one transaction of etcd, written as a sentence: If what it compares is so, Then these writes, Else these reads.
// Each read has a name in the code that asks for it, whatever its place among the operations. What it means that a compare
// failed is said where the compare is made, and Verdict is the one place that finds out which did.
type Txn struct {
	operation string // for metrics and errors
	compares  []clientv3.Cmp
	verdicts  []verdict
	then      []part
	otherwise []part

	Done   bool                         // the compares held, and the writes were carried out
	Header *etcdserverpb.ResponseHeader // of the answer
}

// A part is one operation of a branch: a write, a read or a nested transaction.
type part struct {
	op     clientv3.Op
	read   *Read
	nested *Txn
}

// A verdict says what the mod revision of a key means for a transaction that was not carried out.
type verdict struct {
	read *Read
	of   func(now int64) error
}

// A Read is what a transaction reads at a key or, by its options, at several.
type Read struct {
	op  clientv3.Op
	KVs []*mvccpb.KeyValue
}

// Transact begins a transaction.
func Transact(operation string) *Txn { return &Txn{operation: operation} }

// If compares. What a failure means, the caller finds out from what Else reads.
func (t *Txn) If(compares ...clientv3.Cmp) { t.compares = append(t.compares, compares...) }

// IfUnchanged compares a key's mod revision; 0 means that there is no such key. Where that fails Verdict is otherwise.
func (t *Txn) IfUnchanged(key string, revision int64, otherwise error) {
	t.If(Unchanged(key, revision))
	t.Judge(key, func(now int64) error {
		if now == revision {
			return nil
		}
		return otherwise
	})
}

// Judge has Verdict ask what the mod revision of a key means. It compares nothing.
func (t *Txn) Judge(key string, of func(now int64) error) {
	t.verdicts = append(t.verdicts, verdict{t.Else(key, clientv3.WithKeysOnly()), of})
}

// Then writes.
func (t *Txn) Then(writes ...clientv3.Op) {
	for _, op := range writes {
		t.then = append(t.then, part{op: op})
	}
}

// Nest is a transaction within the writes, with compares of its own. Etcd counts its operations among those of the whole.
func (t *Txn) Nest() *Txn {
	nested := Transact(t.operation)
	t.then = append(t.then, part{nested: nested})
	return nested
}

// Else reads where the compares fail. A transaction that neither compares nor writes reads it in any case.
func (t *Txn) Else(key string, options ...clientv3.OpOption) *Read {
	r := &Read{op: clientv3.OpGet(key, options...)}
	t.otherwise = append(t.otherwise, part{read: r})
	return r
}

// Read reads in any case.
func (t *Txn) Read(key string, options ...clientv3.OpOption) *Read {
	r := t.Else(key, options...)
	t.then = append(t.then, part{read: r})
	return r
}

// Verdict says why the transaction was not carried out: the first compare that failed and that has a meaning decides. It is
// nil where none did.
func (t *Txn) Verdict() error {
	for _, v := range t.verdicts {
		if err := v.of(v.read.Revision()); err != nil {
			return err
		}
	}
	return nil
}

// Revision is etcd's as it answered: of a transaction that was carried out that of its writes.
func (t *Txn) Revision() int64 { return t.Header.Revision }

// Revision is the mod revision of the one key that a read was about; 0: there is no such key.
func (r *Read) Revision() int64 { return RevisionOf(r.KVs) }

// Found reports whether the read has found anything.
func (r *Read) Found() bool { return len(r.KVs) > 0 }

// reads reports whether the transaction only reads.
func (t *Txn) reads() bool { return len(t.compares) == 0 && !t.writes() }

func (t *Txn) writes() bool {
	for _, p := range t.then {
		if p.read == nil {
			return true
		}
	}
	return false
}

// branches are the operations that etcd carries out where the compares hold, and where they do not.
func (t *Txn) branches() (then, otherwise []part) {
	if t.reads() {
		return t.otherwise, nil
	}
	return t.then, t.otherwise
}

func opsOf(parts []part) []clientv3.Op {
	ops := make([]clientv3.Op, len(parts))
	for i, p := range parts {
		switch {
		case p.read != nil:
			ops[i] = p.read.op
		case p.nested != nil:
			then, otherwise := p.nested.branches()
			ops[i] = clientv3.OpTxn(p.nested.compares, opsOf(then), opsOf(otherwise))
		default:
			ops[i] = p.op
		}
	}
	return ops
}

// Size is how many operations, or compares, etcd counts at most against its limit.
func (t *Txn) Size() int { return max(len(t.compares), len(t.then), len(t.otherwise)) }

// learn takes in etcd's answer: each read gets what it has found.
func (t *Txn) learn(succeeded bool, responses []*etcdserverpb.ResponseOp) {
	for _, p := range t.otherwise {
		p.read.KVs = nil
	}
	t.Done = succeeded
	parts, otherwise := t.branches()
	if !succeeded {
		parts = otherwise
	}
	for i, p := range parts {
		switch {
		case p.read != nil:
			p.read.KVs = responses[i].GetResponseRange().GetKvs()
		case p.nested != nil:
			nested := responses[i].GetResponseTxn()
			p.nested.learn(nested.Succeeded, nested.Responses)
		}
	}
}

// conflicted reports whether a compare failed, that of a nested transaction included.
func (t *Txn) conflicted() bool {
	if !t.Done {
		return true
	}
	for _, p := range t.then {
		if p.nested != nil && p.nested.conflicted() {
			return true
		}
	}
	return false
}

// Compares, in words.

// Absent compares that there is no such key.
func Absent(key string) clientv3.Cmp { return Unchanged(key, 0) }

// Present compares that there is such a key.
func Present(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
}

// Unchanged compares a key's mod revision; 0 means that there is no such key.
func Unchanged(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}

// RevisionOf is the mod revision of the one key that a read was about; 0: there is no such key.
func RevisionOf(kvs []*mvccpb.KeyValue) int64 {
	if len(kvs) == 0 {
		return 0
	}
	return kvs[0].ModRevision
}
