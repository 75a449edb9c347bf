package topics

// What tests look at from inside.
var (
	Overlap = overlap
	Covers  = covers
)
