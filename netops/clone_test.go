package netops

import "testing"

func TestOnlyAKernelsWordOfANewGenerationIDIsAClone(t *testing.T) {
	for news, want := range map[string]bool{
		"change@/devices/platform/vmgenid\x00ACTION=change\x00SUBSYSTEM=platform\x00NEW_VMGENID=1\x00SEQNUM=7\x00": true,
		"change@/devices/platform/vmgenid\x00ACTION=change\x00SEQNUM=7\x00":                                        false,
		"add@/devices/platform/vmgenid\x00ACTION=add\x00NEW_VMGENID=1\x00":                                         false,
		"change@/devices/x\x00ACTION=change\x00SYNTH_ARG_NEW_VMGENID=1\x00":                                        false,
		"change@NEW_VMGENID=1": false,
		"":                     false,
	} {
		if got := isClone([]byte(news)); got != want {
			t.Errorf("%q: %v", news, got)
		}
	}
}

func TestTheKernelsNewsOfACloneIsAnEvent(t *testing.T) {
	m := monitor{told: make(chan Event, 1)}
	m.readDevice([]byte("change@/devices/vmgenid\x00ACTION=change\x00NEW_VMGENID=1\x00"))
	if e := <-m.told; e.Kind != Cloned {
		t.Errorf("event %+v", e)
	}
}
