package lease

import (
	"testing"
)

func TestOnlyReleasesOfEtcdWithSoundLeasesAreTaken(t *testing.T) {
	for version, want := range map[string]bool{
		"3.3.99": false, "3.4.37": false, "3.4.38": true, "3.5.13": false, "3.5.22": false, "3.5.23": true, "3.6.4": false, "3.6.5": true,
		"3.7.0": true, "3.7.3": true, "3.8.0-alpha.0": true, "4.0.0": true, "": false, "3.6": false, "3.x.1": false,
	} {
		if got := soundRelease(version); got != want {
			t.Errorf("etcd %q is sound: %v, want %v", version, got, want)
		}
	}
	l := newLab(t)
	l.check(l.store().CheckRelease(t.Context()))
}
