package storagetest_test

import (
	"testing"

	"tidings/storage/storagetest"
)

// TestModel checks the model by the suite, and so the suite by the model.
func TestModel(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Opener { return storagetest.NewModel() })
}
