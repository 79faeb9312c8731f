package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
)

func TestACommandLineThatCannotBeCarriedOutIsRefusedInWords(t *testing.T) {
	for line, want := range map[string]string{
		"--nosuch":                           "unknown flag",
		"--node=a/b":                         "--node",
		"--node=":                            "--node is missing",
		"--node=stateful":                    "no node may be called so",
		"--node=machine":                     "choose another name with --node",
		"--node-address=192.0.2.300":         "want an IP address such as",
		"--node-address=192.0.2.11/24":       "want an IP address such as",
		"--node-address=192.0.2.1,192.0.2.2": "want one address of a family",
		"--node-address=fe80::1%eth0":        "want an IP address such as",
		"--node-address=\x1b[2J":             "want an IP address such as",
		"--log-leve=info":                    "see --help",
		"n1":                                 "want flags only",
		"--log-level=loud":                   "want debug, info, warn or error",
		"--log-level=fatal":                  "want debug, info, warn or error",
		"--log-format=xml":                   "want text or json",
		"--session=3s":                       "unknown flag",
		"--etcd-endpoints=http://a:1 --embedded-etcd-listen=http://b:1": "give one of them",
		"--etcd-endpoints=nonsense":                                     "want http://HOST:PORT",
		"--etcd-endpoints=http://a:1 --etcd-prefix=berth":               "want one that begins with a slash",
		"--etcd-endpoints=http://a:1 --etcd-user=berth":                 "want both, or neither",
		"--etcd-endpoints=https://a:1 --etcd-cert=/none":                "want both files, or neither",
		"--etcd-endpoints=https://a:1 --etcd-cacert=/none":              "/none",
		"--etcd-prefix=berth":                                           "want one that begins with a slash",
		"--embedded-etcd-listen=127.0.0.1:2379":                         "want one such as http://127.0.0.1:2379",
	} {
		if _, err := parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that says %q", line, err, want)
		}
	}
}

func TestAVariableThatCannotBeCarriedOutIsRefusedAsItsFlagIs(t *testing.T) {
	t.Setenv("BERTH_LOG_LEVEL", "loud")
	if _, err := parse([]string{"--node=n1"}); err == nil || !strings.Contains(err.Error(), "--log-level") {
		t.Errorf("got %v", err)
	}
}

func TestDirectoriesAndEtcdAreWhatTheCommandLineSays(t *testing.T) {
	o, err := parse([]string{"--node=n1", "--run-dir=run", "--etcd-endpoints=http://a:1,http://b:1"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(o.agent.RunDir, "/") || !strings.HasSuffix(o.agent.RunDir, "/run") {
		t.Errorf("the run directory is %s: want it whole, since the agent's directory of work is not its caller's", o.agent.RunDir)
	}
	if len(o.etcd.Endpoints) != 2 || o.etcd.Prefix != kv.DefaultPrefix {
		t.Errorf("etcd is %+v", o.etcd)
	}
}

func TestANodeIsShownByAnAddressOrAName(t *testing.T) {
	for _, word := range []string{"", "192.0.2.11", "2001:db8::b", "n1.example", "11-rack.example", "192.0.2.11,2001:db8::b"} {
		if o, err := parse([]string{"--node=n1", "--node-address=" + word}); err != nil || o.agent.Address != word {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestAnErrorDoesNotBeginWithThePackageThatItComesFrom(t *testing.T) {
	err := fmt.Errorf("lease: join: %w", errors.New("lease: the node name is taken: agent: x"))
	if got, want := inWords(err), "join: the node name is taken: x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
