package clock

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// uptime is the time since boot as the kernel writes it for people, to a hundredth of a second.
func uptime(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}

func TestTheBootClockIsTheKernelsTimeSinceBoot(t *testing.T) {
	const grain = 10 * time.Millisecond // of proc_uptime(5)
	before := uptime(t)
	now := Machine().Boot()
	if after := uptime(t); now < before-grain || now > after+2*grain {
		t.Errorf("the time since boot is %s, and the kernel's was %s before and %s after", now, before, after)
	}
}

func TestTimeAwakeIsNotTimeAsleep(t *testing.T) {
	c := Machine()
	before := c.Asleep()
	time.Sleep(50 * time.Millisecond)
	if grown := c.Asleep() - before; before < 0 || grown > 20*time.Millisecond || grown < -20*time.Millisecond {
		t.Errorf("the time asleep was %s, and has grown by %s while the machine was awake", before, grown)
	}
}

func TestWhatIsNotSetIsTheMachines(t *testing.T) {
	c := Clock{Boot: func() time.Duration { return 42 }}.OrMachine()
	before := time.Now()
	wall := c.Wall()
	if c.Boot() != 42 || wall.Before(before) || wall.Location() != time.UTC {
		t.Errorf("the boot clock that was set gives %s, and the time of day is %s", c.Boot(), wall)
	}
	if c.Asleep == nil {
		t.Error("nothing tells the time asleep")
	}
}
