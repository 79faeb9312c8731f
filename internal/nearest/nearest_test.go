package nearest

import "testing"

func TestAWordIsFoundByWhatSomebodyWouldMistype(t *testing.T) {
	known := []string{"pools", "nodes", "mtu", "dns", "gateways", "blockSize", "reservations"}
	for word, want := range map[string]string{
		"pool": "pools", "Pools": "pools", "poosl": "pools", "mut": "mtu", "gatway": "gateways",
		"blocksize": "blockSize", "block_size": "blockSize", "res": "reservations",
		"n": "", "": "", "x": "", "weather": "", "xyz": "",
	} {
		got, found := Word(word, known)
		if got != want || found != (want != "") {
			t.Errorf("%q: found %q, want %q", word, got, want)
		}
	}
}

func TestAHintNamesAllWhenNoneIsNear(t *testing.T) {
	for _, c := range []struct {
		word  string
		known []string
		want  string
	}{
		{"pool", []string{"nodes", "pools"}, `did you mean "pools"?`},
		{"weather", []string{"nodes", "pools"}, "want one of nodes, pools"},
		{"weather", nil, "there are none"},
	} {
		if got := Hint(c.word, c.known); got != c.want {
			t.Errorf("%q: %s, want %s", c.word, got, c.want)
		}
	}
}
