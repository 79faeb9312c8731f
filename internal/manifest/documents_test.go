package manifest

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestTheDocumentsNameEveryKeyOfPoolsAndSettings(t *testing.T) {
	manual, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, kind := range map[string]reflect.Type{
		"### Keys of a pool\n": reflect.TypeFor[allocator.Pool](),
		"### Settings\n":       reflect.TypeFor[record.Settings](),
	} {
		_, table, there := strings.Cut(string(manual), heading)
		table, _, _ = strings.Cut(table, "\n#")
		if !there {
			t.Errorf("docs/configuration.md has no %q", heading)
		}
		documented := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-zA-Z]+)` \\|").FindAllStringSubmatch(table, -1) {
			documented[row[1]] = true
		}
		existing := map[string]bool{}
		for i := range kind.NumField() {
			if key, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ","); key != "-" {
				existing[key] = true
			}
		}
		if !maps.Equal(documented, existing) {
			t.Errorf("below %q docs/configuration.md names the keys %v: want %v", heading, slices.Sorted(maps.Keys(documented)),
				slices.Sorted(maps.Keys(existing)))
		}
	}
}
