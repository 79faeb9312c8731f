package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// A comment on what others use names it, so that who reads go doc sees what it is. The names of one group of constants share one.
func TestWhatIsExportedHasAComment(t *testing.T) {
	documented := map[string]bool{}
	for file := range sources(t) {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, "../../"+file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range uncommented(set, parsed) {
			t.Error(strings.TrimPrefix(wrong, "../../"))
		}
		dir := file[:strings.LastIndex(file, "/")]
		documented[dir] = documented[dir] || parsed.Doc != nil
	}
	for dir, has := range documented {
		if !has {
			t.Errorf("package %s has no comment that says what it is for", dir)
		}
	}
}

func TestTheRuleOfCommentsCatchesOneThatIsMissing(t *testing.T) {
	const source = `package p

// A Named one has a comment.
type Named struct{}

type Bare struct{}

// Says another name.
func Wrong() {}

// Do does.
func (Named) Do() {}

func (Named) Undone() {}

func (hidden) Hidden() {}

// Names of a kind share one.
const (
	A = 1
	B = 2
)

var Loose = 1
`
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, "p.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, wrong := range uncommented(set, parsed) {
		lines = append(lines, strings.SplitN(wrong, " ", 2)[0])
	}
	if got, want := fmt.Sprint(lines), "[p.go:6 p.go:9 p.go:14 p.go:24]"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// uncommented are the exported declarations of a file whose comment is missing, or names something else.
func uncommented(set *token.FileSet, file *ast.File) (wrong []string) {
	want := func(at token.Pos, name string, docs ...*ast.CommentGroup) {
		for _, doc := range docs {
			if doc != nil && strings.Contains(doc.Text(), name) {
				return
			}
		}
		p := set.Position(at)
		wrong = append(wrong, fmt.Sprintf("%s:%d %s is exported: want a comment that names it", p.Filename, p.Line, name))
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) && !conventional(d) {
				want(d.Pos(), d.Name.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				wantSpec(d, s, want)
			}
		}
	}
	return wrong
}

func wantSpec(d *ast.GenDecl, s ast.Spec, want func(token.Pos, string, ...*ast.CommentGroup)) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			want(s.Pos(), s.Name.Name, s.Doc, d.Doc)
		}
	case *ast.ValueSpec:
		if s.Names[0].IsExported() && !explainedGroup(d) {
			want(s.Pos(), s.Names[0].Name, s.Doc, d.Doc)
		}
	}
}

// explainedGroup reports whether a declaration in parentheses has a comment, or one of its lines has.
func explainedGroup(d *ast.GenDecl) bool {
	commented := func(s ast.Spec) bool {
		v, ok := s.(*ast.ValueSpec)
		return ok && (v.Comment != nil || v.Doc != nil)
	}
	return d.Lparen.IsValid() && (d.Doc != nil || slices.ContainsFunc(d.Specs, commented))
}

// conventional are methods whose name says all that there is to say.
func conventional(d *ast.FuncDecl) bool {
	switch d.Name.Name {
	case "Error", "String", "Unwrap", "Is", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalYAML",
		"UnmarshalYAML", "Len", "Less", "Swap", "Set", "Type", "WithoutKey":
		return d.Recv != nil
	}
	return false
}

func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
