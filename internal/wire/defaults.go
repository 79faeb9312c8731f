package wire

// What a request means that does not say it.
const (
	DefaultPool      = "default"
	DefaultNamespace = "default" // of an app
)
