package kube

import (
	"encoding/json"
	"maps"
)

// raw is an object as the API wrote it. What is written back is what was read with our fields changed, so that fields of a newer Kubernetes, and
// what others put on the object, survive.
type raw map[string]any

// clone copies an object so that a change of one does not show in the other. Lists are shared: nobody changes one.
func (o raw) clone() raw {
	out := make(raw, len(o))
	for key, value := range o {
		switch v := value.(type) {
		case raw:
			value = v.clone()
		case map[string]any:
			value = raw(v).clone()
		}
		out[key] = value
	}
	return out
}

// part returns a nested object, making it if it is missing.
func (o raw) part(name string) raw {
	switch p := o[name].(type) {
	case raw:
		return p
	case map[string]any:
		return p
	}
	p := raw{}
	o[name] = p
	return p
}

// set gives an object its kind and metadata. Without a version it is a new one.
func (o raw) set(apiVersion, kind string, meta Object) {
	o["apiVersion"], o["kind"] = apiVersion, kind
	m := o.part("metadata")
	m["name"] = meta.Name
	if meta.Version != "" {
		m["resourceVersion"] = meta.Version
	}
	m["labels"], m["annotations"] = maps.Clone(meta.Labels), maps.Clone(meta.Annotations)
}

// into decodes an object into a struct that has the fields we know.
func (o raw) into(v any) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
