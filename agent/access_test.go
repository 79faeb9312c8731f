package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/lease/kv"
)

// users has the rig's etcd want to know who asks, and gives who manages it: the agent is to be the user berth.
func (r *rig) users() *clientv3.Client {
	r.t.Helper()
	ctx := r.t.Context()
	open, err := clientv3.New(clientv3.Config{Endpoints: r.etcd.Endpoints(), Logger: zap.NewNop()})
	check(r.t, err)
	defer open.Close()
	for _, user := range []string{"root", "berth"} {
		_, err = open.UserAdd(ctx, user, "secret")
		check(r.t, err)
	}
	_, err = open.RoleAdd(ctx, "berth")
	check(r.t, err)
	_, err = open.RoleGrantPermission(ctx, "berth", kv.DefaultPrefix+"/", clientv3.GetPrefixRangeEnd(kv.DefaultPrefix+"/"),
		clientv3.PermissionType(clientv3.PermReadWrite))
	check(r.t, err)
	for user, role := range map[string]string{"root": "root", "berth": "berth"} {
		_, err = open.UserGrantRole(ctx, user, role)
		check(r.t, err)
	}
	_, err = open.AuthEnable(ctx)
	check(r.t, err)
	admin, err := clientv3.New(clientv3.Config{Endpoints: r.etcd.Endpoints(), Username: "root", Password: "secret", Logger: zap.NewNop()})
	check(r.t, err)
	r.t.Cleanup(func() { admin.Close() })
	r.as.User, r.as.PasswordFile = "berth", filepath.Join(r.dir, "password")
	check(r.t, os.WriteFile(r.as.PasswordFile, []byte("secret\n"), 0o600))
	return admin
}

// refusals are the findings about what etcd refuses.
func (r *rig) refusals() (subjects []string) {
	for _, f := range r.agent.Findings.List() {
		if f.Kind == "etcd-access" {
			subjects = append(subjects, f.Subject)
		}
	}
	return subjects
}

func TestWhatEtcdRefusesStandsAsAFindingUntilItIsRepairedWithoutARestart(t *testing.T) {
	r := newRig(t)
	r.stop()
	admin := r.users()
	r.start()
	if got := r.refusals(); len(got) > 0 {
		t.Fatalf("at first etcd refuses %q", got)
	}
	_, err := admin.UserRevokeRole(t.Context(), "berth", "berth")
	check(t, err)
	r.until("the finding is there", func() bool { return len(r.refusals()) > 0 })
	if _, body := r.readyz(); !strings.Contains(body, "etcd-access") || !strings.Contains(body, "permission denied") ||
		!strings.Contains(body, "docs/etcd.md") {
		t.Errorf("/readyz says %q, want what is refused, why, and what to do", body)
	}
	_, err = admin.UserGrantRole(t.Context(), "berth", "berth")
	check(t, err)
	r.until("the findings have ended", func() bool { return len(r.refusals()) == 0 })

	_, err = admin.UserChangePassword(t.Context(), "berth", "another")
	check(t, err)
	r.until("the finding names the user", func() bool { return strings.Contains(strings.Join(r.refusals(), " "), kv.TheUser) })
	check(t, os.WriteFile(r.as.PasswordFile, []byte("another\n"), 0o600))
	r.until("the findings have ended", func() bool { return len(r.refusals()) == 0 })
	r.until("the node serves", func() bool { return r.agent.reporter.NotReady() == nil })
	r.add(r.stateless("c1", "web"))
}
