package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/internal/flags"
	"github.com/berth-ipam/berth/lease/embedded"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

type options struct {
	agent               agent.Options
	etcd                *kv.Options
	dataDir             string
	embeddedListen      []string
	logLevel, logFormat string
	log                 zap.Config
	showVersion         bool
	warnings            []string // of settings that work but are not advisable
}

// parse reads the command line and the environment.
func parse(args []string) (*options, error) {
	fs := pflag.NewFlagSet("berthd", pflag.ContinueOnError)
	o := &options{etcd: flags.Etcd(fs)}
	host, _ := os.Hostname() // empty: --node is missing, and checked below
	fs.StringVar(&o.agent.Name, "node", host, "this node's `name` in the cluster")
	fs.StringVar(&o.agent.Address, "node-address", "", "`address` by which other nodes reach this one, or one of each family with a comma "+
		"between; empty: those of the interface with the default route. A host's name is only shown to people")
	fs.StringVar(&o.agent.Machine, "machine", "", "`identity` of this machine, for tests and for clones that have nothing else to "+
		"tell them apart; empty: its machine id with its product UUID")
	fs.StringVar(&o.agent.Boot, "boot", "", "`identity` of this run of the machine, with which its containers end, for tests; "+
		"empty: the kernel's boot id with the network namespace")
	fs.StringVar(&o.dataDir, "data-dir", "/var/lib/berth", "`directory` of the embedded etcd's data")
	runDir := flags.RunDir(fs)
	fs.StringVar(&o.agent.Listen, "listen", "127.0.0.1:9473", "`host:port` of /metrics, /healthz and /readyz, and of /v1/version; empty: none")
	fs.StringVar(&o.agent.Access.Cert, "listen-cert", "", "`file` of the certificate by which --listen speaks TLS")
	fs.StringVar(&o.agent.Access.Key, "listen-key", "", "`file` of that certificate's key")
	fs.StringVar(&o.agent.Access.ClientCA, "listen-client-ca", "", "`file` of the authorities whose client certificates may ask for /v1/")
	fs.StringVar(&o.agent.Access.TokenFile, "listen-token-file", "", "`file` of the token that may ask for /v1/")
	fs.StringSliceVar(&o.embeddedListen, "embedded-etcd-listen", nil,
		"further client `URLs` on which the embedded etcd listens, besides unix://RUNDIR/etcd.sock")
	fs.StringVar(&o.agent.SettingsFile, "settings-file", "", "`path` of the file that this agent's variables come from, if they do: "+
		"berthctl status then tells when it was changed after the agent has started")
	fs.StringVar(&o.logLevel, "log-level", "info", "`level`: debug, info, warn or error")
	fs.StringVar(&o.logFormat, "log-format", "text", "`format`: text or json")
	fs.BoolVar(&o.showVersion, "version", false, "print the version and end")
	fs.Usage = func() {
		fmt.Fprintf(os.Stderr, "berthd is a node's agent. It needs no flag on a single machine, where it serves an etcd of its "+
			"own.\n\nUsage: berthd [flags]\n\nExample:\n  berthd --node n1 --etcd-endpoints "+
			"https://10.0.0.1:2379,https://10.0.0.2:2379\n\nFlags:\n%s", fs.FlagUsages())
	}
	flags.Document(fs)
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("%w: see --help", err)
	}
	if err := flags.Environment(fs); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q: want flags only, see --help", fs.Arg(0))
	}
	o.agent.RunDir, o.agent.Version = *runDir, version
	o.warnings = flags.Exposed(fs)
	return o, o.check()
}

func (o *options) check() error {
	if err := record.ValidNode("--node", o.agent.Name); err != nil {
		return fmt.Errorf("%w: choose another name with --node, which is the machine's host name where it is not given", err)
	}
	var err error
	if o.agent.Hops, err = nodeAddresses(o.agent.Address); err != nil {
		return err
	}
	if o.agent.Listen, err = listenAddress(o.agent.Listen); err != nil {
		return err
	}
	if err := o.agent.Access.Check(o.agent.Listen); err != nil {
		return err
	}
	if len(o.embeddedListen) > 0 && len(o.etcd.Endpoints) > 0 {
		return fmt.Errorf("--embedded-etcd-listen needs the embedded etcd, and --etcd-endpoints names another: give one of them")
	}
	if o.log, err = o.logging(); err != nil {
		return err
	}
	dirs := []*string{&o.agent.RunDir, &o.dataDir}
	for _, dir := range dirs {
		path, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = path
	}
	return o.checkEtcd()
}

// checkEtcd checks the flags of etcd, embedded or not.
func (o *options) checkEtcd() error {
	etcd := *o.etcd
	if len(etcd.Endpoints) == 0 {
		if err := o.embedded(nil).Check(); err != nil {
			return fmt.Errorf("--embedded-etcd-listen: %w", err)
		}
		etcd.Endpoints = []string{"unix://" + flags.EtcdSocket(o.agent.RunDir)}
	}
	return etcd.Check()
}

func (o *options) embedded(log *zap.Logger) embedded.Options {
	return embedded.Options{
		Dir: filepath.Join(o.dataDir, "etcd"), Name: o.agent.Name, ListenUnix: flags.EtcdSocket(o.agent.RunDir),
		ListenClient: o.embeddedListen, Log: log,
	}
}

// logging is the configuration of the log by its flags.
func (o *options) logging() (c zap.Config, err error) {
	level, err := zapcore.ParseLevel(o.logLevel)
	if err != nil || level < zapcore.DebugLevel || level > zapcore.ErrorLevel {
		return c, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)
	}
	c = zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(level)
	c.Sampling, c.DisableStacktrace = nil, true
	c.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	switch o.logFormat {
	case "json":
	case "text":
		c.Encoding, c.DisableCaller = "console", true
		c.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	default:
		return c, fmt.Errorf("--log-format %q: want text or json", o.logFormat)
	}
	return c, nil
}
