package broker

// ExchangeForTest is what a test's engine authenticates by.
type ExchangeForTest = exchange
