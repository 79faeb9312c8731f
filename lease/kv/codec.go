package kv

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A Codec says how a record of one kind is read. Whatever is read from etcd goes through it, in lists, watches and
// transactions alike, so that a record which somebody has damaged is an error of that record and of nothing else.
type Codec[T any] struct {
	Kind  Kind
	Check func(record *T, key Key, revision int64) error // why the record cannot be used; see record/valid.go
	Fill  func(record *T, key Key, revision int64)       // sets what the key and its mod revision say; may be nil
	Needs []string                                       // fields that are never left out when it is written
	Fresh func() T                                       // what counts for the other fields where they are left out; nil: the zero record
	Keyed bool                                           // the key says all that counts, whatever its value is
}

// maxRecord bounds a record as it is written, in bytes. Etcd itself takes 1.5 MiB unless it is told otherwise.
const maxRecord = 2 << 20

// Read fails with *DamagedError.
func (c Codec[T]) Read(keys Keys, kv *mvccpb.KeyValue) (T, error) {
	var record T
	key, err := keys.Parse(string(kv.Key))
	if err != nil {
		return record, &DamagedError{Key: string(kv.Key), Revision: kv.ModRevision, Err: cmp.Or(errors.Unwrap(err), err)}
	}
	if record, err = c.decode(key, kv); err != nil {
		var none T // nothing of it is to be used
		if record = none; !c.Keyed || key.Kind != c.Kind {
			return none, &DamagedError{Key: string(kv.Key), At: key, Revision: kv.ModRevision, Err: err}
		}
	}
	if c.Fill != nil {
		c.Fill(&record, key, kv.ModRevision)
	}
	return record, nil
}

func (c Codec[T]) decode(key Key, kv *mvccpb.KeyValue) (record T, err error) {
	if c.Fresh != nil {
		record = c.Fresh()
	}
	switch {
	case key.Kind != c.Kind:
		return record, fmt.Errorf("it is of kind %q: want %q", key.Kind, c.Kind)
	case len(kv.Value) > maxRecord:
		return record, fmt.Errorf("it has %d bytes: want %d at most", len(kv.Value), maxRecord)
	case !bytes.HasPrefix(bytes.TrimLeft(kv.Value, " \t\r\n"), []byte("{")): // "null" would pass for a record of zeros
		return record, fmt.Errorf("it is %s: want a JSON object", excerpt(kv.Value))
	}
	if err := c.complete(kv.Value); err != nil {
		return record, err
	}
	if err := json.Unmarshal(kv.Value, &record); err != nil {
		return record, fmt.Errorf("it is no JSON of its kind: %w", err)
	}
	if c.Check != nil {
		if err := c.Check(&record, key, kv.ModRevision); err != nil {
			return record, err
		}
	}
	return record, nil
}

// complete checks that a record has the fields that it needs.
func (c Codec[T]) complete(value []byte) error {
	if len(c.Needs) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	for _, name := range c.Needs {
		if _, there := fields[name]; !there {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// excerpt is the beginning of a value, for an error.
func excerpt(value []byte) string {
	const most = 40
	if len(value) > most {
		return fmt.Sprintf("%q and %d bytes more", value[:most], len(value)-most)
	}
	return fmt.Sprintf("%q", value)
}

// ReadAll separates the records that can be read from those that cannot.
func (c Codec[T]) ReadAll(keys Keys, kvs []*mvccpb.KeyValue) (records []T, bad []*DamagedError) {
	records = make([]T, 0, len(kvs))
	for _, kv := range kvs {
		if record, err := c.Read(keys, kv); err == nil {
			records = append(records, record)
		} else {
			bad = append(bad, Damage(err))
		}
	}
	return records, bad
}
