package api

// Users returns the operations that a device may ask for on behalf of its user.
func Users(c Config) *Table {
	var ops []Operation
	ops = append(ops, groupOps(c.Engine)...)
	ops = append(ops, chatOps(c.Engine)...)
	ops = append(ops, accountOps(c.Engine)...)
	ops = append(ops, deviceOps(&c)...)
	return newTable(&c, ops...)
}
