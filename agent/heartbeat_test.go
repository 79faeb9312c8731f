package agent

import "testing"

func TestTheNodesStatusCountsStatefulContainersToo(t *testing.T) {
	r := newRig(t)
	containers := func() int {
		statuses, err := r.store.Rollout.Statuses(t.Context())
		check(t, err)
		return statuses["n1"].Containers
	}
	r.until("the status is there", func() bool { s, err := r.store.Rollout.Statuses(t.Context()); return err == nil && len(s) == 1 })
	a, b := r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-1")
	r.add(a)
	r.add(b)
	r.until("the status counts both", func() bool { return containers() == 2 })
	r.del(a)
	r.until("the status counts one", func() bool { return containers() == 1 })
}

func TestAStatusThatSomebodyHasDeletedOrChangedComesBack(t *testing.T) {
	r := newRig(t)
	const key = "/berth/v1/status/n1"
	version := func() string {
		statuses, err := r.store.Rollout.Statuses(t.Context())
		check(t, err)
		return statuses["n1"].Version
	}
	r.until("the status is there", func() bool { return version() == "test" })
	_, err := r.etcdctl().Delete(t.Context(), key)
	check(t, err)
	r.until("the status is there again", func() bool { return version() == "test" })
	_, err = r.etcdctl().Put(t.Context(), key, `{"version": "another"}`)
	check(t, err)
	r.until("the status says again what is so", func() bool { return version() == "test" })
}
