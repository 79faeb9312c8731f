// Package session is who is alive: a node joins, proves that its session lives, and has rights for a time. It also finds out whether
// the etcd that answers is the one that it was.
package session
