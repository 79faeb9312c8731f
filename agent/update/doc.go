// Package update brings running containers to each new configuration, and knows which lag behind it and why.
package update
