package limits

import "time"

// NewSmall is New with a bound of entries per shard.
func NewSmall(c Config, entries int) *Limits {
	return &Limits{
		start:   time.Now(),
		devices: newTable(c.Device, c.Burst, entries),
		users:   newTable(c.User, c.Burst, entries),
	}
}

// Shards is the number of shards of a table.
const Shards = len(table{}.shards)
