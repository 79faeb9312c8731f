package check_test

import (
	"testing"

	"github.com/berth-ipam/berth/internal/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }
