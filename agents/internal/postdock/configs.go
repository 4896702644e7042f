package postdock

import (
	"fmt"
	"strings"
)

// ParseConfigs reads the form of CONFIGS: name, assignment symbol, value, delimiter symbol, and so on. A value that begins with a single or
// double quote goes on to the closing one, whatever it holds, so that lists such as 'a,b' need no other delimiter; the quotes are not
// part of it, and a doubled one inside stands for itself. Blanks around names and values do not count.
func ParseConfigs(text, delimiter, assignment string) (map[string]string, error) {
	if delimiter == "" {
		delimiter = ","
	}
	if assignment == "" {
		assignment = ":"
	}
	if delimiter == assignment {
		return nil, fmt.Errorf("CONFIGS_DELIMITER_SYMBOL and CONFIGS_ASSIGNMENT_SYMBOL are both %q", delimiter)
	}
	if strings.ContainsAny(delimiter+assignment, `'"`) {
		return nil, fmt.Errorf("CONFIGS_DELIMITER_SYMBOL and CONFIGS_ASSIGNMENT_SYMBOL cannot hold quotes")
	}
	configs := map[string]string{}
	for rest := text; strings.TrimSpace(rest) != ""; {
		item, _, _ := strings.Cut(rest, delimiter)
		if strings.TrimSpace(item) == "" {
			rest = rest[min(len(rest), len(item)+len(delimiter)):] // two delimiters in a row
			continue
		}
		name, after, ok := strings.Cut(rest, assignment)
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || name == "" || strings.Contains(name, delimiter) {
			return nil, fmt.Errorf("CONFIGS has %q: want name%svalue", strings.TrimSpace(item), assignment)
		}
		if _, twice := configs[name]; twice {
			return nil, fmt.Errorf("CONFIGS sets %s twice", name)
		}
		value, more, err := cutValue(after, delimiter)
		if err != nil {
			return nil, fmt.Errorf("CONFIGS, %s: %w", name, err)
		}
		configs[name], rest = value, more
	}
	return configs, nil
}

// cutValue takes one value off the beginning of text and returns what follows its delimiter.
func cutValue(text, delimiter string) (value, rest string, err error) {
	text = strings.TrimLeft(text, " \t\r\n")
	if text == "" || text[0] != '\'' && text[0] != '"' {
		value, rest, _ = strings.Cut(text, delimiter)
		return strings.TrimSpace(value), rest, nil
	}
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != quote:
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == quote:
			b.WriteByte(quote)
			i++
		default:
			left, rest, _ := strings.Cut(text[i+1:], delimiter)
			if left = strings.TrimSpace(left); left != "" {
				return "", "", fmt.Errorf("%q stands behind the closing quote", left)
			}
			return b.String(), rest, nil
		}
	}
	return "", "", fmt.Errorf("a quote is not closed")
}
