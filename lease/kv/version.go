package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
)

// A floor is the first release of each minor version of etcd 3 that lacks certain faults, by its patch number. Minor
// versions after the listed ones lack them from their beginning, those before have them for ever. docs/etcd.md says which
// faults they are, and when the floors were last compared with etcd's own list.
type floor map[int]int

var (
	// proofFloor is for what a right rests on: linearizable reads that are never stale, also after the process was paused
	// (etcd issue 20418), and leases that a former leader cannot revoke, nor a renewal report alive after they were.
	proofFloor = floor{4: 42, 5: 28, 6: 9, 7: 0}
	// authFloor is for clusters with users: GHSA-xg4h-6gfc-h4m8, CVE-2026-33343, CVE-2026-33413. Etcd 3.4 never got there.
	authFloor = floor{5: 33, 6: 14, 7: 1}
)

// A ReleaseError says that a member of etcd is of a release which no right can rest upon.
type ReleaseError struct{ Endpoint, Version string }

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("lease: etcd at %s is of version %s, which can answer reads with what is out of date, and end sessions "+
		"wrongly: want %s or a later one", e.Endpoint, e.Version, proofFloor)
}

// A ReleaseWarning says that a member of etcd is of a release with known faults in its authentication, or that its release is
// not known. Agents go on with it.
type ReleaseWarning struct {
	Endpoint, Version string
	Err               error // why the version is not known
}

// Unwrap is why the version is not known.
func (e *ReleaseWarning) Unwrap() error { return e.Err }

func (e *ReleaseWarning) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("lease: etcd at %s does not tell its version (%v): see that it is %s or a later one", e.Endpoint, e.Err, proofFloor)
	}
	return fmt.Sprintf("lease: etcd at %s is of version %s, whose users can be evaded (GHSA-xg4h-6gfc-h4m8, CVE-2026-33343, "+
		"CVE-2026-33413): want %s or a later one", e.Endpoint, e.Version, authFloor)
}

// CheckRelease fails with *ReleaseError if one of the endpoints that answer is of a release with known faults in its
// reads or leases. One that does not answer is passed over, unless none does. It warns of releases with known faults in their
// authentication, where that is in use, and of members that do not tell theirs.
func (c *Client) CheckRelease(ctx context.Context) (warnings []*ReleaseWarning, err error) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	return Retry(ctx, c, CallTime, func(ctx context.Context) ([]*ReleaseWarning, error) {
		endpoints := c.login.options.Endpoints
		versions, errs := make([]string, len(endpoints)), make([]error, len(endpoints))
		var asked sync.WaitGroup
		for i, endpoint := range endpoints {
			asked.Go(func() { versions[i], errs[i] = c.versionOf(ctx, client, endpoint) })
		}
		asked.Wait()
		if !slices.Contains(errs, nil) && !slices.ContainsFunc(errs, versionRefused) {
			return nil, errors.Join(errs...)
		}
		return c.judgeReleases(ctx, client, versions, errs)
	})
}

// versionOf asks one endpoint.
func (c *Client) versionOf(ctx context.Context, client Etcd, endpoint string) (string, error) {
	response, err := client.Status(ctx, endpoint)
	switch {
	case versionRefused(err):
		return "", err
	case err != nil:
		return "", c.Failed("ask "+endpoint+" for its version", err)
	}
	return response.Version, nil
}

// versionRefused reports that an endpoint answers, and refuses to tell this user its version.
func versionRefused(err error) bool { return errors.Is(err, rpctypes.ErrPermissionDenied) }

// judgeReleases decides by the endpoints' answers. An endpoint that did not answer has an error and is passed over.
func (c *Client) judgeReleases(
	ctx context.Context, client Etcd, versions []string, errs []error,
) (warnings []*ReleaseWarning, err error) {
	authenticated := sync.OnceValue(func() bool { return c.hasUsers(ctx, client) })
	for i, endpoint := range c.login.options.Endpoints {
		switch version := versions[i]; {
		case versionRefused(errs[i]):
			warnings = append(warnings, &ReleaseWarning{Endpoint: endpoint, Err: errs[i]})
		case errs[i] != nil:
		case !proofFloor.admits(version):
			return nil, &ReleaseError{Endpoint: endpoint, Version: version}
		case !authFloor.admits(version) && authenticated():
			warnings = append(warnings, &ReleaseWarning{Endpoint: endpoint, Version: version})
		}
	}
	return warnings, nil
}

// hasUsers reports whether etcd's authentication is in use: by a name and a password, or by the name in the client's
// certificate. An etcd without it tells everybody so.
func (c *Client) hasUsers(ctx context.Context, client Etcd) bool {
	if c.login.options.User != "" {
		return true
	}
	response, err := client.AuthStatus(ctx)
	if err != nil {
		code := codeOf(err)
		return code == codes.PermissionDenied || code == codes.InvalidArgument // it wants to know who asks
	}
	return response.Enabled
}

// admits reads a version as etcd writes it, such as 3.6.9 or 3.7.0-rc.1, which comes before 3.7.0. What it cannot read it does
// not admit.
func (f floor) admits(version string) bool {
	plain, before, _ := strings.Cut(version, "-")
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
	major, minor, patch := parts[0], parts[1], parts[2]
	if major != 3 {
		return major > 3
	}
	first, listed := f[minor]
	switch {
	case !listed:
		return minor > f.newest()
	case patch == first:
		return before == ""
	}
	return patch > first
}

func (f floor) newest() (minor int) {
	for m := range f {
		minor = max(minor, m)
	}
	return minor
}

// String names the first release of each minor version.
func (f floor) String() string {
	var releases []string
	for minor := range f.newest() + 1 {
		if patch, listed := f[minor]; listed {
			releases = append(releases, fmt.Sprintf("3.%d.%d", minor, patch))
		}
	}
	return strings.Join(releases, ", ")
}
