package topics

// overlap tells whether there is a topic name that both of two valid filters
// match.
func overlap(a, b string) bool {
	if wild(a) && b[0] == '$' || wild(b) && a[0] == '$' { // [MQTT-4.7.2-1]
		return false
	}
	a, b = explicit(a), explicit(b)
	for {
		x, restA := cut(a)
		y, restB := cut(b)
		if x == "#" || y == "#" {
			return true
		}
		if x != y && x != "+" && y != "+" {
			return false
		}
		switch endA, endB := len(x) == len(a), len(y) == len(b); {
		case endA && endB:
			return true
		case endA:
			return restB == "#"
		case endB:
			return restA == "#"
		}
		a, b = restA, restB
	}
}

// covers tells whether the valid filter a matches every topic name that the valid
// filter b matches.
func covers(a, b string) bool {
	if wild(a) && b[0] == '$' {
		return false
	}
	a, b = explicit(a), explicit(b)
	for {
		x, restA := cut(a)
		y, restB := cut(b)
		if x == "#" {
			return true
		}
		if y == "#" || x != "+" && x != y {
			return false
		}
		switch endA, endB := len(x) == len(a), len(y) == len(b); {
		case endA:
			return endB
		case endB:
			return restA == "#"
		}
		a, b = restA, restB
	}
}

// explicit returns a filter that matches the same topics, and whose "#" never
// stands for the topic name without any character, which does not exist.
func explicit(filter string) string {
	switch filter {
	case "#":
		return "+/#"
	case "/#":
		return "/+/#"
	}
	return filter
}

// wild tells whether the first level of a valid filter is a wildcard.
func wild(filter string) bool { return filter[0] == '+' || filter[0] == '#' }
