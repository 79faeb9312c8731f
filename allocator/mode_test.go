package allocator

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAPoolThatSaysFlatSaysWhatOneSaysThatIsSilent(t *testing.T) {
	for text, want := range map[string]Mode{`{}`: Flat, `{"mode":""}`: Flat, `{"mode":"flat"}`: Flat, `{"mode":"routed"}`: Routed,
		`{"mode":"vxlan"}`: VXLAN, `{"mode":"auto"}`: Auto} {
		var p Pool
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Mode != want || p.Layer3() != (want != Flat) {
			t.Errorf("%s: mode %v, %v", text, p.Mode, err)
		}
		written, err := json.Marshal(p)
		if err != nil || strings.Contains(string(written), "mode") != (want != Flat) {
			t.Errorf("%s is written as %s, %v", text, written, err)
		}
	}
}

func TestAModeThatThereIsNotIsReadAndNotValid(t *testing.T) {
	p := routed()
	if err := json.Unmarshal([]byte(`{"mode":"geneve"}`), &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), `mode "geneve": want flat, routed, vxlan or auto`) {
		t.Errorf("the error is %v", err)
	}
}

// Each container of a routed pool is behind its node, which is beyond the pool.
func TestTheGatewayOfARoutedPoolIsTheSameOnEachNode(t *testing.T) {
	p := routed()
	for f, want := range RoutedGateways {
		if p.GatewayOf(p.CIDRs[f].Addr()) != want || p.Contains(want) {
			t.Errorf("the gateway of %v is %v", p.CIDRs[f], p.GatewayOf(p.CIDRs[f].Addr()))
		}
	}
	if all := p.AllGateways(); !slices.Equal(all, RoutedGateways[:]) {
		t.Errorf("its gateways are %v", all)
	}
	v4 := Pool{Mode: Routed, CIDRs: []netip.Prefix{p.CIDRs[0], prefix("10.44.0.0/24")}}
	if all := v4.AllGateways(); !slices.Equal(all, RoutedGateways[:1]) {
		t.Errorf("the gateways of a pool of IPv4 are %v", all)
	}
	for _, a := range []string{"10.43.0.77", "fd00:43::77"} {
		if got := p.Prefix(addr(a)); got.Addr() != addr(a) || !got.IsSingleIP() {
			t.Errorf("an interface is configured with %v", got)
		}
	}
}
