package record

import (
	"encoding/json"
	"reflect"
	"strings"
)

// extras are the fields of an object that this release does not know. A newer release wrote them and relies on them, so a rewrite
// by this one must not drop them (SAFETY D45).
type extras map[string]json.RawMessage

// The plain types have the fields of their namesakes and none of their methods, so that encoding/json can be used below.
type (
	plainRecord     Record
	plainBootstrap  Bootstrap
	plainMember     Member
	plainSync       Sync
	plainIntent     Intent
	plainPause      Pause
	plainFenced     Fenced
	plainRollout    Rollout
	plainStep       Step
	plainTransition Transition
	plainStage      Stage
)

// UnmarshalJSON keeps unknown fields.
func (r *Record) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainRecord)(r), &r.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (r Record) MarshalJSON() ([]byte, error) { return encode(plainRecord(r), r.unknown) }

// UnmarshalJSON keeps unknown fields.
func (s *Bootstrap) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainBootstrap)(s), &s.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (s Bootstrap) MarshalJSON() ([]byte, error) { return encode(plainBootstrap(s), s.unknown) }

// UnmarshalJSON keeps unknown fields.
func (m *Member) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainMember)(m), &m.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (m Member) MarshalJSON() ([]byte, error) { return encode(plainMember(m), m.unknown) }

// UnmarshalJSON keeps unknown fields.
func (s *Sync) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainSync)(s), &s.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (s Sync) MarshalJSON() ([]byte, error) { return encode(plainSync(s), s.unknown) }

// UnmarshalJSON keeps unknown fields.
func (i *Intent) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainIntent)(i), &i.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (i Intent) MarshalJSON() ([]byte, error) { return encode(plainIntent(i), i.unknown) }

// UnmarshalJSON keeps unknown fields.
func (p *Pause) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainPause)(p), &p.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (p Pause) MarshalJSON() ([]byte, error) { return encode(plainPause(p), p.unknown) }

// UnmarshalJSON keeps unknown fields.
func (f *Fenced) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainFenced)(f), &f.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (f Fenced) MarshalJSON() ([]byte, error) { return encode(plainFenced(f), f.unknown) }

// UnmarshalJSON keeps unknown fields.
func (o *Rollout) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainRollout)(o), &o.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (o Rollout) MarshalJSON() ([]byte, error) { return encode(plainRollout(o), o.unknown) }

// UnmarshalJSON keeps unknown fields.
func (s *Step) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainStep)(s), &s.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (s Step) MarshalJSON() ([]byte, error) { return encode(plainStep(s), s.unknown) }

// decode reads the known fields into v, a pointer to a plain struct, and the rest into unknown.
func decode(b []byte, v any, unknown *extras) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	all := extras{}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			delete(all, name)
		}
	}
	*unknown = nil
	if len(all) > 0 {
		*unknown = all
	}
	return nil
}

// encode writes v and beside it the unknown fields. With none, which is the rule, nothing is parsed a second time.
func encode(v any, unknown extras) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || len(unknown) == 0 {
		return b, err
	}
	all := extras{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range unknown {
		if _, known := all[name]; !known {
			all[name] = value
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON keeps unknown fields.
func (t *Transition) UnmarshalJSON(b []byte) error {
	return decode(b, (*plainTransition)(t), &t.unknown)
}

// MarshalJSON writes unknown fields beside the known ones.
func (t Transition) MarshalJSON() ([]byte, error) { return encode(plainTransition(t), t.unknown) }

// UnmarshalJSON keeps unknown fields.
func (s *Stage) UnmarshalJSON(b []byte) error { return decode(b, (*plainStage)(s), &s.unknown) }

// MarshalJSON writes unknown fields beside the known ones.
func (s Stage) MarshalJSON() ([]byte, error) { return encode(plainStage(s), s.unknown) }
