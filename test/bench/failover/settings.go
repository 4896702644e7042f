package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/test/bench/results"
)

// equal are the settings that the peer is given as our product has them: what a write costs, and how much memory and WAL there is.
var equal = []string{"max_connections", "max_wal_size", "shared_buffers", "synchronous_commit", "wal_keep_size"}

// told are the settings that the page shows of both.
var told = append([]string{
	"checkpoint_timeout", "data_checksums", "fsync", "full_page_writes", "recovery_init_sync_method", "restart_after_crash", "ssl", "wal_level",
	"wal_log_hints", "wal_receiver_timeout", "wal_retrieve_retry_interval", "wal_sender_timeout",
}, equal...)

// alike asks the running server for the settings that the peer shall have too.
func (p *place) alike(ctx context.Context) (map[string]string, error) {
	st, err := p.whole(ctx)
	if err != nil {
		return nil, err
	}
	lead, _ := st.primary()
	return p.settings(ctx, lead.name, equal)
}

func (p *place) settings(ctx context.Context, pod string, names []string) (map[string]string, error) {
	out, err := p.sql(ctx, pod, "select name || '=' || current_setting(name) from pg_settings where name in ('"+strings.Join(names, "','")+"')")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			all[name] = value
		}
	}
	if len(all) != len(names) {
		return nil, fmt.Errorf("%s tells %d settings of %d", pod, len(all), len(names))
	}
	return all, nil
}

// describe keeps what was compared: versions and settings of both. A run that goes on keeps them again only if they are not the same.
func (b *bench) describe(ctx context.Context, run *results.Run) error {
	for i, p := range b.products {
		place := p.common()
		st, err := place.whole(ctx)
		if err != nil {
			return err
		}
		lead, _ := st.primary()
		labels, err := place.settings(ctx, lead.name, told)
		if err != nil {
			return err
		}
		if labels["server"], err = place.sql(ctx, lead.name, "show server_version"); err != nil {
			return err
		}
		if labels["product"], err = p.version(ctx, lead.name); err != nil {
			return err
		}
		labels["case"], labels["arm"] = "settings", []string{"pgspan", "patroni"}[i]
		if !run.Has(labels) {
			if err := run.Add(labels, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// settingsRows is the table of what was compared: the newest word of each product.
func settingsRows(run *results.Run) [][]string {
	newest := map[string]map[string]string{"pgspan": {}, "patroni": {}}
	for _, s := range run.Samples {
		if s.Labels["case"] == "settings" {
			newest[s.Labels["arm"]] = s.Labels
		}
	}
	if len(newest["pgspan"]) == 0 || len(newest["patroni"]) == 0 {
		return nil
	}
	rows := [][]string{{"product", newest["pgspan"]["product"], newest["patroni"]["product"]}, {"PostgreSQL", newest["pgspan"]["server"], newest["patroni"]["server"]}}
	for _, name := range slices.Sorted(slices.Values(told)) {
		rows = append(rows, []string{"`" + name + "`", newest["pgspan"][name], newest["patroni"][name]})
	}
	return rows
}
