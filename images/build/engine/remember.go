package engine

import (
	"context"
	"maps"
)

// remembering keeps the list of images until something changes it. An engine takes a tenth of a second for each question, and a run that
// has nothing to do asks hundreds. Only one run of the tool is under way at a time.
type remembering struct {
	Engine
	ids map[string]string
}

func (r *remembering) List(ctx context.Context) (map[string]string, error) {
	if r.ids == nil {
		ids, err := r.Engine.List(ctx)
		if err != nil {
			return nil, err
		}
		r.ids = ids
	}
	return maps.Clone(r.ids), nil
}

func (r *remembering) Pull(ctx context.Context, ref string) error {
	r.ids = nil
	return r.Engine.Pull(ctx, ref)
}

func (r *remembering) Import(ctx context.Context, tar, ref string, labels map[string]string) error {
	r.ids = nil
	return r.Engine.Import(ctx, tar, ref, labels)
}

func (r *remembering) Build(ctx context.Context, b Build) error {
	r.ids = nil
	return r.Engine.Build(ctx, b)
}

func (r *remembering) Tag(ctx context.Context, from, to string) error {
	r.ids = nil
	return r.Engine.Tag(ctx, from, to)
}

func (r *remembering) Remove(ctx context.Context, ref string) error {
	r.ids = nil
	return r.Engine.Remove(ctx, ref)
}
