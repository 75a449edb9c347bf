package topics

// Access is what the access rules say about open topics for one connection; see
// Rules.For. The zero Access and a nil *Access allow everything, at no cost. It
// does not change, and its methods do not allocate.
type Access struct {
	publish, read []verdict
}

// verdict is a rule for one connection. The first with a filter that matches
// decides; if there is none it is allowed.
type verdict struct {
	allow  bool
	filter string
}

// MayPublish tells whether a valid topic name may be published to.
func (a *Access) MayPublish(topic []byte) bool { return a == nil || decide(a.publish, topic) }

// MayRead tells whether what is published to a topic may be delivered. It is to be
// asked for each delivery: a subscription may be about more than may be read.
func (a *Access) MayRead(topic []byte) bool { return a == nil || decide(a.read, topic) }

// MaySubscribe tells whether anything may be delivered on a valid topic filter,
// without $share/{name}/. It is false only if one rule denies all that the filter
// matches, and no rule before that one allows any of it. A filter of which a part
// is denied is granted: MayRead keeps that part back.
func (a *Access) MaySubscribe(filter string) bool {
	if a == nil || filter == "" {
		return true
	}
	for _, v := range a.read {
		switch {
		case v.allow && overlap(v.filter, filter):
			return true
		case !v.allow && covers(v.filter, filter):
			return false
		}
	}
	return true
}

func decide(vs []verdict, topic []byte) bool {
	for _, v := range vs {
		if Match(v.filter, topic) {
			return v.allow
		}
	}
	return true
}

// trim takes away what allows at the end, since that is allowed anyway.
func trim(vs []verdict) []verdict {
	for len(vs) > 0 && vs[len(vs)-1].allow {
		vs = vs[:len(vs)-1]
	}
	if len(vs) == 0 {
		return nil
	}
	return vs
}
