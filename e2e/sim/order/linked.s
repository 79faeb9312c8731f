//go:build ordered
