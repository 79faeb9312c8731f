package wire

import (
	"bytes"
	"encoding/json"
	"errors"
)

// MaxContainers is how many containers one request may name.
const MaxContainers = 1000

// Containers are a request's set.
type Containers []Container

// UnmarshalJSON stops at the first container that is too many: three bytes of JSON decode to some hundred bytes.
func (all *Containers) UnmarshalJSON(text []byte) error {
	*all = nil
	d := json.NewDecoder(bytes.NewReader(text))
	switch begin, err := d.Token(); {
	case err != nil:
		return err
	case begin == nil: // null
		return nil
	case begin != json.Delim('['):
		return errors.New("containers: want a list")
	}
	for d.More() {
		if len(*all) == MaxContainers {
			return Errorf(CodeOperation, "the request names more than %d containers: name fewer at once", MaxContainers)
		}
		var c Container
		if err := d.Decode(&c); err != nil {
			return err
		}
		*all = append(*all, c)
	}
	return nil
}
