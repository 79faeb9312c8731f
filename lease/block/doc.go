// Package block is who owns which block, or part of one: by a session a node claims, releases, transfers, takes over and asserts.
package block
