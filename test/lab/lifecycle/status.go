package lifecycle

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/host"
)

// Row is one line of the lab's status.
type Row struct {
	Name, Address, State, Detail string
}

// Status tells how each host is.
func Status(ctx context.Context, state State) ([]Row, error) {
	var rows []Row
	for _, h := range state.Lab.Hosts() {
		row := Row{Name: h.Name, Address: h.Address().String()}
		alive, err := host.Alive(h.Name)
		if err != nil {
			return nil, err
		}
		frozen, err := cgroup.Frozen(h.Name)
		if err != nil {
			return nil, err
		}
		switch {
		case !alive:
			row.State = "dead"
		case frozen:
			row.State = "frozen"
		default:
			row.State = "running"
			row.Detail = unitsOf(ctx, h.Name)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func unitsOf(ctx context.Context, name string) string {
	units, err := host.Units(ctx, name)
	if err != nil {
		return "units unknown: " + err.Error()
	}
	var words []string
	for _, u := range units {
		switch {
		case !u.Wanted:
			words = append(words, u.Name+" stopped")
		case u.PID == 0:
			words = append(words, u.Name+" down")
		case u.Starts > 1:
			words = append(words, fmt.Sprintf("%s (start %d)", u.Name, u.Starts))
		default:
			words = append(words, u.Name)
		}
	}
	return strings.Join(words, ", ")
}
