package mutate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func tree(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func options(t *testing.T, name string) Options {
	t.Helper()
	return Options{Root: tree(t), Packages: []string{"./internal/mutate/testdata/" + name}, Jobs: 2, Budget: time.Minute, Log: t.Output()}
}

func TestEachKindOfPlaceIsFoundWithAllItsMutants(t *testing.T) {
	sources, err := load(tree(t), []string{"./internal/mutate/testdata/kinds"})
	if err != nil {
		t.Fatal(err)
	}
	_, mutants, err := overlay(t.TempDir(), sources)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/kinds/kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[Kind]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		var want, got []string
		if _, comment, ok := strings.Cut(line, " // "); ok && strings.Contains(comment, ": ") {
			want = strings.Split(comment, "; ")
		}
		for _, m := range mutants {
			if m.Line == i+1 {
				got, kinds[m.Kind] = append(got, fmt.Sprintf("%s: %s", m.Kind, m.Detail)), true
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("line %d has\n%s\nwant\n%s", i+1, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(kinds) != 12 {
		t.Errorf("%d kinds were found, want all 12", len(kinds))
	}
	for i, m := range mutants {
		if m.Number != i+1 {
			t.Fatalf("mutant %d has the number %d", i+1, m.Number)
		}
	}
}

func TestWhatIsMutatedCompiles(t *testing.T) {
	dir := t.TempDir()
	sources, err := load(tree(t), []string{"./internal/mutate/testdata/kinds"})
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := overlay(dir, sources)
	if err != nil {
		t.Fatal(err)
	}
	vet := exec.Command("go", "build", "-overlay", file, "./internal/mutate/testdata/kinds")
	vet.Dir, vet.Env = tree(t), plain()
	if output, err := vet.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

func TestAGuardThatATestTriesIsKilledAndOneThatNoneTriesIsNot(t *testing.T) {
	report, err := run(t.Context(), options(t, "guarded"), equivalents{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	fates := map[string]string{}
	for _, o := range report.Outcomes {
		fate := "unreached"
		switch {
		case o.Killed && !o.Late && strings.HasPrefix(o.By, "TestAGuard"):
			fate = "killed"
		case len(o.Survived) > 0:
			fate = "survived"
		}
		fates[o.Function+" "+string(o.Kind)] = fate
	}
	for what, want := range map[string]string{
		"Tried guard never taken": "killed", "Tried guard always taken": "killed", "Tried returned at once": "killed",
		"Tried bound moved":      "unreached",
		"Half guard never taken": "unreached", "Half guard always taken": "killed", "Half returned at once": "killed",
		"Unreached guard never taken": "unreached", "Unreached returned at once": "unreached",
	} {
		if fates[what] != want {
			t.Errorf("%s: %s, want %s", what, fates[what], want)
		}
	}
	if s := report.Scores()[0]; s.Killed != 5 || s.Unreached != 7 || s.Survived != 0 || s.Percent() > 42 {
		t.Errorf("the score is %s", s)
	}
	var table strings.Builder
	report.Write(&table)
	if want := "testdata/guarded/guarded.go:14  Half  guard never taken: n > 10\n"; !strings.Contains(table.String(), want) {
		t.Errorf("the table has no row %q:\n%s", want, &table)
	}
}

func TestAMutantThatDoesNotEndIsKilledAndSaidApart(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	o := options(t, "endless")
	o.Places = regexp.MustCompile(`endless\.go:7$`)
	report, err := run(t.Context(), o, equivalents{}, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Scores()[0]; s.Killed != 2 || s.Late != 1 {
		t.Errorf("the score is %s, want 2 killed, 1 of them late", s)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
}

func TestWhatThereIsNoTimeForIsNotCalledASurvivor(t *testing.T) {
	o := options(t, "guarded")
	o.Within = time.Nanosecond
	report, err := run(t.Context(), o, equivalents{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Scores()[0]; s.Untried != 12 {
		t.Errorf("the score is %s, want all of them untried", s)
	}
}

func TestWhoIsInterruptedReportsNothing(t *testing.T) {
	o := options(t, "endless")
	o.Places = regexp.MustCompile(`endless\.go:7$`)
	ctx, interrupt := context.WithCancel(t.Context())
	o.Log = writer(func(line string) {
		if strings.Contains(line, "tests recorded") {
			interrupt()
		}
	})
	if report, err := run(ctx, o, equivalents{}, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("the report is %v, %v", report, err)
	}
}

type writer func(string)

func (w writer) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}
