package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// sound is the first release of each minor version of etcd 3 whose leases can be relied upon: before, a former leader
// could revoke all of them (etcd pull request 16822), or a renewal succeed after the lease was revoked (pull request
// 20590). Later minor versions are sound from their beginning.
var sound = map[int]int{4: 38, 5: 23, 6: 5}

// A ReleaseError says that a member of etcd is of a release whose leases cannot be relied upon.
type ReleaseError struct{ Endpoint, Version string }

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("lease: etcd at %s is of version %s, which can end sessions wrongly or report ended ones as alive: want 3.4.38, 3.5.23, 3.6.5 or a later one", e.Endpoint, e.Version)
}

// CheckRelease fails with *ReleaseError if one of the endpoints that answer is of a release with known faults in its
// leases. One that does not answer is passed over, unless none does.
func (s *Store) CheckRelease(ctx context.Context) error {
	client, err := s.etcd()
	if err != nil {
		return err
	}
	_, err = insist(ctx, s, callTime, func(ctx context.Context) (struct{}, error) {
		errs := make([]error, len(s.config.Endpoints))
		var asked sync.WaitGroup
		for i, endpoint := range s.config.Endpoints {
			asked.Go(func() { errs[i] = s.checkRelease(ctx, client, endpoint) })
		}
		asked.Wait()
		return struct{}{}, verdictOf(errs)
	})
	return err
}

// checkRelease asks one endpoint.
func (s *Store) checkRelease(ctx context.Context, client *clientv3.Client, endpoint string) error {
	status, err := client.Status(ctx, endpoint)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return nil // it does not tell this user
	case err != nil:
		return s.failed("ask "+endpoint+" for its version", err)
	case !soundRelease(status.Version):
		return &ReleaseError{Endpoint: endpoint, Version: status.Version}
	}
	return nil
}

// verdictOf is what the endpoints' answers come to.
func verdictOf(errs []error) error {
	for _, err := range errs {
		if _, unsound := errors.AsType[*ReleaseError](err); unsound {
			return err
		}
	}
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(errs...)
}

// soundRelease reads a version as etcd writes it, such as 3.6.5 or 3.7.0-rc.1. What it cannot read is not.
func soundRelease(version string) bool {
	plain, _, _ := strings.Cut(version, "-")
	var parts [3]int
	fields := strings.Split(plain, ".")
	if len(fields) != len(parts) {
		return false
	}
	for i, field := range fields {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 {
			return false
		}
		parts[i] = n
	}
	if parts[0] != 3 {
		return parts[0] > 3
	}
	first, listed := sound[parts[1]]
	return listed && parts[2] >= first || !listed && parts[1] > 6
}
