package rollout

import (
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/session"
)

// FirstPublication is the first transaction that a batch comes to.
func FirstPublication(x *session.Session, batch Batch) (*kv.Txn, error) {
	p := publisherOf(x)
	pieces, err := p.pieces(batch)
	if err != nil {
		return nil, err
	}
	return p.publication(pieces[0]).Txn, nil
}
