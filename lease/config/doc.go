// Package config is the configuration: a Store reads and follows it, an Editor changes it.
package config
