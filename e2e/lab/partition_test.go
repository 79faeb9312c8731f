package lab

import (
	"net"
	"strings"
	"testing"
	"time"
)

func passes(t *testing.T, a, b *Node) {
	t.Helper()
	if _, err := a.Ping(b.Address); err != nil {
		t.Error(err)
	}
}

func TestAPartitionCutsThoseTwoSidesAndHealRepairsIt(t *testing.T) {
	l := newLab(t, 1, 3)
	a, b, c := l.Nodes[0], l.Nodes[1], l.Nodes[2]
	passes(t, a, b) // so that they know each other's MAC, and c's
	passes(t, a, c)
	must(t, l.Partition(Side{a.Name}, l.NodesBut(a.Name)))
	if received(t, a, b) || received(t, b, a) || received(t, c, a) {
		t.Error("something passes through the partition")
	}
	passes(t, b, c)
	if !reaches(a, l.Etcd.Members[0]) {
		t.Error("etcd is cut off too")
	}
	must(t, l.Heal())
	passes(t, a, b)
	passes(t, c, a)
	must(t, l.Partition(Side{a.Name}, l.Etcd.Side()))
	if reaches(a, l.Etcd.Members[0]) || !reaches(b, l.Etcd.Members[0]) {
		t.Error("want this node and etcd cut from each other, and nobody else")
	}
	passes(t, a, b)
	must(t, c.Unplug(), l.Heal())
	passes(t, b, c)
	if !reaches(a, l.Etcd.Members[0]) {
		t.Error("after Heal the node is still cut from etcd")
	}
}

func TestACutIsOneWay(t *testing.T) {
	l := newLab(t, 1, 2)
	a, b := l.Nodes[0], l.Nodes[1]
	passes(t, a, b) // so that each knows the other's MAC
	must(t, l.Cut(Side{a.Name}, Side{b.Name}))
	if received(t, a, b) {
		t.Error("a datagram passes the way that is cut")
	}
	if !received(t, b, a) {
		t.Error("no datagram passes the other way")
	}
}

func TestACutOfAMachineThatIsNotThereIsRefused(t *testing.T) {
	l := newLab(t, 1, 1)
	err := l.Partition(Side{"n1"}, Side{"n7"})
	if err == nil || !strings.Contains(err.Error(), "n7") || !strings.Contains(err.Error(), "e1") {
		t.Errorf("the error is %v: want one that names n7 and what there is", err)
	}
}

// reaches reports whether a connection from the node to an etcd's member is made.
func reaches(from *Node, to *Member) bool {
	err := within(from.netns, func() error {
		connection, err := net.DialTimeout("tcp", strings.TrimPrefix(to.Endpoint(), "http://"), time.Second)
		if err == nil {
			connection.Close()
		}
		return err
	})
	return err == nil
}

// received reports whether a datagram that one node sends to another arrives within a while.
func received(t *testing.T, from, to *Node) bool {
	t.Helper()
	var socket net.PacketConn
	must(t, within(to.netns, func() (err error) {
		socket, err = net.ListenPacket("udp4", to.Address.String()+":0")
		return err
	}))
	defer socket.Close()
	must(t, within(from.netns, func() error {
		connection, err := net.Dial("udp4", socket.LocalAddr().String())
		if err != nil {
			return err
		}
		defer connection.Close()
		_, err = connection.Write([]byte("hello"))
		return err
	}), socket.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
	n, _, _ := socket.ReadFrom(make([]byte, 16))
	return n > 0
}
