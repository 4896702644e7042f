package epoch

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads the form that String writes.
func Parse(s string) (Epoch, error) {
	site, local, ok := strings.Cut(s, ".")
	if !ok {
		return Epoch{}, fmt.Errorf("parse epoch %q: want two numbers with a dot between", s)
	}
	a, err := strconv.ParseUint(site, 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("parse epoch %q: %w", s, err)
	}
	b, err := strconv.ParseUint(local, 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("parse epoch %q: %w", s, err)
	}
	return Epoch{Site: a, Local: b}, nil
}
