package mutate

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// lines are those of files that somebody asks for.
type lines map[string][][2]int // from and to, by the file's path in the tree

func (l lines) has(file string, line int) bool {
	for _, r := range l[file] {
		if r[0] <= line && line <= r[1] {
			return true
		}
	}
	return false
}

// changedSince asks git which lines of the tree are not as they were in a commit.
func changedSince(root, base string) (lines, error) {
	command := exec.Command("git", "diff", "--unified=0", "--no-color", "--no-ext-diff", "--relative", "--end-of-options", base, "--", "*.go")
	command.Dir = root
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("mutate: what changed since %s: %w: %s", base, err, complaint.Bytes())
	}
	return parseDiff(string(output))
}

var hunk = regexp.MustCompile(`^@@ -\S+ \+(\d+)(?:,(\d+))? @@`)

func parseDiff(text string) (lines, error) {
	changed := lines{}
	file := ""
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		line := scanner.Text()
		if name, ok := strings.CutPrefix(line, "+++ b/"); ok {
			file = name
		}
		found := hunk.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		from, err := strconv.Atoi(found[1])
		if err != nil {
			return nil, fmt.Errorf("mutate: git's line %q: %w", line, err)
		}
		count := 1
		if found[2] != "" {
			if count, err = strconv.Atoi(found[2]); err != nil {
				return nil, fmt.Errorf("mutate: git's line %q: %w", line, err)
			}
		}
		if count > 0 {
			changed[file] = append(changed[file], [2]int{from, from + count - 1})
		}
	}
	return changed, nil
}
